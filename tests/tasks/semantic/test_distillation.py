import pytest
import torch
from safetensors.torch import load_file

import srzoo
from srzoo.data.opening import open_dataset
from srzoo.labels.own import numbered_labels
from srzoo.recipes.recipe import Recipe
from srzoo.tasks.semantic.distillation import Teacher, distillation
from srzoo.train.loop import train

MODEL = {"backbone": "test_efficientnet", "num_classes": 11, "channels": 32, "output_stride": 16}


@pytest.fixture
def teacher(tmp_path):
    """Writes a tiny model with a number of classes, and returns its path."""

    def write(num_classes: int = 11) -> str:
        torch.manual_seed(1)
        path = tmp_path / "teacher.safetensors"
        srzoo.save_model(srzoo.create_model("srnet", **{**MODEL, "num_classes": num_classes}), path)
        return str(path)

    return write


def recipe(teacher: str | None) -> Recipe:
    block = {"crop": 64, "scale": (0.3, 0.6), "teacher": teacher}
    keys = {"start": "random", "batch_size": 1, "lr": 2e-3, "epochs": 1, "precision": "no", "evaluate_every": 2}
    return Recipe.from_dict({"model": "srnet", "model_options": MODEL, **keys, "semantic": block})


def run(root, out, recipe, **options):
    splits = (open_dataset(root, split) for split in ("train", "val"))
    return train(recipe, *splits, out, workers=0, **options)


def test_divergence_equals_its_formula():
    torch.manual_seed(0)
    student, wanted = torch.randn(2, 2, 5, 7, 3, dtype=torch.float32).unbind(0)
    p, q = wanted.softmax(1), student.softmax(1)
    expected = (p * (p / q).log()).sum(1).mean()
    torch.testing.assert_close(distillation(student, wanted), expected)
    assert distillation(student, student) == pytest.approx(0, abs=1e-6)


def test_coarser_teacher_is_resized():
    wanted = torch.randn(1, 4, 1, 1)
    fine = wanted.expand(1, 4, 6, 5).clone()
    assert distillation(fine, wanted) == pytest.approx(0, abs=1e-6)
    assert distillation(fine.roll(1, 1), wanted) > 0.01


def test_only_the_student_learns(teacher):
    source = Teacher(teacher(), numbered_labels(11).classes, torch.device("cpu"))
    images = torch.randint(256, (2, 3, 64, 96), dtype=torch.uint8)
    wanted = source(images)
    assert wanted.shape[:2] == (2, 11)
    assert not wanted.requires_grad
    student = torch.zeros(2, 11, 9, 13, requires_grad=True)
    distillation(student, wanted).backward()
    assert student.grad.abs().sum() > 0
    assert torch.equal(source(images), wanted)  # in evaluation mode: no dropout, no statistics of the batch


def test_invalid_teacher_ends_before_training(small_camvid, teacher, tmp_path):
    with pytest.raises(ValueError, match="'nobody'"):
        run(small_camvid, tmp_path / "run", recipe("nobody"))
    with pytest.raises(ValueError, match="'srnet_r50_camvid'.*srnet_lite0_camvid"):
        run(small_camvid, tmp_path / "run", recipe("srnet_r50_camvid"))
    with pytest.raises(FileNotFoundError, match=r"gone\.safetensors"):
        run(small_camvid, tmp_path / "run", recipe("gone.safetensors"))
    with pytest.raises(ValueError, match=r"teacher\.safetensors.* 4 .* 11$"):
        run(small_camvid, tmp_path / "run", recipe(teacher(4)))
    other = ("road", *srzoo.model_info("srnet_lite0_camvid").classes[1:])
    with pytest.raises(ValueError, match=r"class 0\b.*'sky'.*srnet_lite0_camvid.*'road'"):
        Teacher("srnet_lite0_camvid", other, torch.device("cpu"))
    assert not (tmp_path / "run").exists()


def test_resumed_run_with_a_teacher_ends_with_the_same_bits(small_camvid, teacher, tmp_path, monkeypatch):
    taught = recipe(teacher())
    run(small_camvid, tmp_path / "whole", taught)
    save = torch.save

    class Killed(BaseException):
        pass

    def stop(state, path):
        if state["step"] == 2:
            raise Killed
        save(state, path)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(torch, "save", stop)
        run(small_camvid, tmp_path / "stopped", taught, checkpoint_seconds=0)
    run(small_camvid, tmp_path / "stopped", taught)
    run(small_camvid, tmp_path / "alone", recipe(None))
    whole, stopped, alone = (load_file(tmp_path / name / "last.safetensors") for name in ("whole", "stopped", "alone"))
    assert all(torch.equal(whole[key], stopped[key]) for key in whole)
    assert not all(torch.equal(whole[key], alone[key]) for key in whole)
