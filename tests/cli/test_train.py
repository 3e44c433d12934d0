import re
import shutil

import numpy as np
import pytest
import yaml
from PIL import Image

import srzoo
from srzoo.cli import main
from srzoo.cli.train import _better_epoch
from srzoo.options import full_names
from srzoo.recipes.recipe import recipe_keys
from srzoo.train.api import TrainedRun

TINY = ["--model", "srnet", "--model_options", "{backbone: test_efficientnet, channels: 32, output_stride: 16}"]
SHORT = ["--start", "random", "--steps", "2", "--batch_size", "2", "--semantic.crop", "64", "--short_side", "64"]


@pytest.fixture
def root(write_pairs):
    """Six images of odd size, with masks of three classes that have names."""
    root = write_pairs(*[[0] * 20 + [1] * (11 + i) + [255] + [2] * 9 for i in range(6)], width=53)
    for path in (root / "images").iterdir():
        Image.open(path).resize((53, Image.open(root / "masks" / f"{path.stem}.png").height)).save(path)
    (root / "train.txt").write_text("\n".join(f"f{i}" for i in range(1, 6)))
    (root / "val.txt").write_text("f0")
    (root / "classes.txt").write_text("soil\ncrop\nweed\n")
    return root


def train(root, out, *options):
    return main(["train", *TINY, *SHORT, "--data.root", str(root), "--out", str(out), "--workers", "0", *options])


def test_train_segment_and_eval_on_a_folder(root, tmp_path, capsys):
    assert train(root, tmp_path / "run", "--num_classes", "3", "--data.format", "folder", "--lr", "1e-3") == 0
    printed = capsys.readouterr().out
    assert "model srnet, start random, steps 2, batch_size 2, short_side 64, lr 0.001" in printed
    assert re.search(r"val mIoU [\d.]+%.*last\.safetensors", printed)
    model = tmp_path / "run" / "last.safetensors"
    config = srzoo.load_model(model).config
    assert config.classes == ("soil", "crop", "weed")
    assert config.transform.short_side == 64
    image = str(root / "images" / "f0.jpg")
    assert main(["segment", "--model", str(model), image, "--out", str(tmp_path / "segmented")]) == 0
    segmented = capsys.readouterr().out
    assert any(name in segmented for name in config.classes)
    assert main(["eval", "--model", str(model), "--data.root", str(root)]) == 0
    assert "mIoU" in capsys.readouterr().out


def test_how_the_data_is_read_is_kept(root, tmp_path, capsys, write_mask):
    (root / "classes.txt").unlink()
    shutil.copytree(root, tmp_path / "moved")
    options = ["--data.id_map", "{0: 255, 1: 0, 2: 1, 255: 255}", "--num_classes", "2"]
    assert train(root, tmp_path / "run", *options, "--steps", "1") == 0
    model, recipe = tmp_path / "run" / "last.safetensors", tmp_path / "run" / "recipe.yaml"
    kept = yaml.safe_load(recipe.read_text())["data"]
    assert (kept["format"], kept["root"], kept["id_map"][1]) == ("folder", str(root), 0)
    capsys.readouterr()
    assert main(["eval", "--model", str(model)]) == 0
    first = capsys.readouterr().out
    assert main(["eval", "--model", str(model), "--data.root", str(tmp_path / "moved")]) == 0  # under the same map
    assert capsys.readouterr().out == first
    for where in ([], ["--data.root", str(tmp_path / "moved")]):
        assert main(["train", "--recipe", str(recipe), "--out", str(tmp_path / "run"), "--workers", "0", *where]) == 0


def test_eval_without_data(tmp_path, capsys):
    srzoo.save_model(
        srzoo.create_model("srnet", backbone="test_efficientnet", num_classes=3), tmp_path / "m.safetensors"
    )
    assert main(["eval", "--model", str(tmp_path / "m.safetensors")]) == 2
    assert "--data.root PATH" in capsys.readouterr().err


def test_saved_recipe_trains_the_same_model(root, tmp_path):
    assert train(root, tmp_path / "first", "--semantic.blur", "0", "--steps", "1") == 0
    recipe = tmp_path / "first" / "recipe.yaml"
    assert yaml.safe_load(recipe.read_text())["semantic"]["blur"] == 0
    command = ["train", "--recipe", str(recipe), "--data.root", str(root), "--workers", "0"]
    assert main([*command, "--out", str(tmp_path / "second")]) == 0
    first, second = ((tmp_path / name / "last.safetensors").read_bytes() for name in ("first", "second"))
    assert first == second


@pytest.mark.filterwarnings("default:.*classes instead of")
def test_published_weights_are_the_start_with_new_classifiers(root, tmp_path, capsys):
    options = ["--steps", "1", "--batch_size", "1", "--semantic.crop", "32", "--precision", "no", "--short_side", "32"]
    command = ["train", "--model", "srnet_lite0_camvid", "--data.root", str(root), "--workers", "0", *options]
    assert main([*command, "--lr", "0", "--ema_decay", "0", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert "start published" in printed.out
    assert "3 classes instead of 11" in printed.err
    tuned = srzoo.load_model(tmp_path / "last.safetensors")
    shipped = srzoo.create_model("srnet_lite0_camvid", pretrained=True)
    assert tuned.config.classes == ("soil", "crop", "weed")
    for name, value in shipped.named_parameters():
        assert ("classifier" in name) or (tuned.get_parameter(name) == value).all(), name


@pytest.mark.filterwarnings("default:.*classes instead of")
def test_model_of_a_run_is_the_start_of_another(root, tmp_path, capsys):
    assert train(root, tmp_path / "first") == 0
    first = tmp_path / "first" / "last.safetensors"
    still = ["--lr", "0", "--ema_decay", "0", "--steps", "1", "--batch_size", "1", "--semantic.crop", "64"]
    command = ["train", "--model", str(first), "--workers", "0", *still, "--data.root", str(root)]
    assert main([*command, "--out", str(tmp_path / "same")]) == 0
    before, same = srzoo.load_model(first), srzoo.load_model(tmp_path / "same" / "last.safetensors")
    assert same.config == before.config
    assert all((same.get_parameter(name) == value).all() for name, value in before.named_parameters())
    assert "classes instead of" not in capsys.readouterr().err

    (root / "classes.txt").unlink()
    assert main([*command, "--num_classes", "4", "--out", str(tmp_path / "other")]) == 0
    assert re.search(r"4 classes instead of 3.*aux_head\.classifier\.bias", capsys.readouterr().err)
    other = srzoo.load_model(tmp_path / "other" / "last.safetensors")
    assert (other.num_classes, other.config.transform) == (4, before.config.transform)
    for name, value in before.named_parameters():
        assert ("classifier" in name) or (other.get_parameter(name) == value).all(), name

    assert (
        main([*command, "--out", str(tmp_path / "named")]) == 0
    )  # number and names of the classes are those of the file
    assert srzoo.load_model(tmp_path / "named" / "last.safetensors").config.classes == ("soil", "crop", "weed")
    kept = ["train", "--recipe", str(tmp_path / "named" / "recipe.yaml"), "--data.root", str(root), "--workers", "0"]
    assert main([*kept, "--out", str(tmp_path / "kept")]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--start", "random"], r"tiny\.safetensors.*start='random'.* srnet$"),
        (["--pretrained", "false"], r"tiny\.safetensors.*start='imagenet'.* srnet$"),
    ],
)
def test_file_as_model_contradicts_another_start(root, tmp_path, options, message, capsys):
    model = tmp_path / "tiny.safetensors"
    srzoo.save_model(srzoo.create_model("srnet", backbone="test_efficientnet", num_classes=3), model)
    command = ["train", "--model", str(model), "--data.root", str(root), "--out", str(tmp_path / "run")]
    assert main([*command, *options]) == 2
    assert re.search(message, capsys.readouterr().err.splitlines()[-1])


def test_start_file_must_hold_the_same_backbone(root, tmp_path, capsys):
    model = tmp_path / "tiny.safetensors"
    srzoo.save_model(srzoo.create_model("srnet", backbone="test_efficientnet", num_classes=3), model)
    command = ["train", "--model", "srnet_lite0", "--start", str(model), "--data.root", str(root), "--steps", "1"]
    assert main([*command, "--out", str(tmp_path / "run")]) == 2
    assert re.search(r"tiny\.safetensors .*srnet over.* srnet_lite0 over", capsys.readouterr().err)


def test_unknown_option_has_a_suggestion(root, tmp_path, capsys):
    with pytest.raises(SystemExit):
        train(root, tmp_path / "run", "--semantic.cropp", "16")
    assert re.search(r"--semantic\.cropp.*'--semantic\.crop'", capsys.readouterr().err)


def test_old_names_of_keys_still_work(root, tmp_path, capsys):
    old = ["--pretrained_backbone", "false", "--crop", "64", "--scale", "0.5", "1", "--steps", "1"]
    command = ["train", *TINY, *old, "--batch_size", "1", "--short_side", "64", "--data.root", str(root)]
    assert main([*command, "--out", str(tmp_path / "run"), "--workers", "0"]) == 0
    said = capsys.readouterr().err
    assert said.count("crop is now semantic.crop") == said.count("scale is now semantic.scale") == 1
    assert "pretrained_backbone is now start, here 'random'" in said
    kept = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())
    assert (kept["start"], kept["semantic"]["crop"], kept["semantic"]["scale"]) == ("random", 64, [0.5, 1.0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--num_classes", "4"], r"\b3 classes.*\b4\b"),
        (["--data.format", "cityscapes"], "leftImg8bit/train"),
        (["--lr", "1e-3", "--semantic.scale", "2", "1"], r"semantic\.scale .*low <= high.* \(2\.0, 1\.0\)"),
        (["--semantic.class_weights", "1", "2"], "2 class_weights.* 3 classes"),
        (["--optimizer", "adam"], "optimizer .*adamw, sgd.*'adam'"),
        (["--epochs", "1"], "epochs=1 .*steps=2"),
        (["--num_classes", "0"], "num_classes=0.* 2 to 254"),
        (["--model_options", "{backbone: test_efficientnet, num_classes: x}"], "num_classes='x'"),
        (["--model_options", "{backbone: nope}"], "timm.*'nope'"),
        (["--workers", "-1"], "workers=-1.*0 or more"),
        (["--batch_size", "3", "--accumulate", "2"], r"batch_size=3.* 2\b.*accumulate=2"),
        (["--semantic.crop", "16"], r"crop=16.*\b32\b"),
        (["--lr", "nan"], r"lr .*\b0 or more.* nan"),
        (["--weight_decay", "-1"], r"weight_decay .*\b0 or more.* -1\.0"),
        (["--start", "published"], "'srnet'"),
        (["--start", "nowhere.pth"], r"nowhere\.pth"),
        (["--model_options", "{backbone: test_efficientnet, in_channels: 0}"], "in_channels .*1, got 0"),
        (["--model_options", "{backbone: test_efficientnet, in_channels: x}"], "in_channels .*1, got 'x'"),
        (["--mean", "0.5", "--std", "0.5"], "1 values.* 3 channels"),
    ],
)
def test_invalid_options_are_one_line_of_error_and_write_nothing(root, tmp_path, options, message, capsys):
    assert train(root, tmp_path / "run", *options) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("srzoo: warning")]
    assert re.search(message, line)
    assert not (tmp_path / "run").exists()


def test_output_folder_is_a_file(root, tmp_path, capsys):
    (tmp_path / "run").touch()
    assert train(root, tmp_path / "run") == 2
    assert re.search("run'.*File exists.*--out", capsys.readouterr().err)


def test_one_step_by_a_recipe_of_the_paper(write_image, write_mask, tmp_path):
    """SGD and OHEM in the layout of Cityscapes, at a tiny size and with a smaller backbone."""
    for split, city in (("train", "aachen"), ("val", "lindau")):
        image, mask = (
            tmp_path / folder / split / city / f"{city}_000000_000019_{kind}.png"
            for folder, kind in (("leftImg8bit", "leftImg8bit"), ("gtFine", "gtFine_labelIds"))
        )
        write_image(image, 34, 70)
        write_mask(mask, range(34), 70)
    tiny = "{backbone: test_resnet, channels: 32, multi_grid: null}"
    command = ["train", "--recipe", "srnet_r50_cityscapes", "--data.root", str(tmp_path)]
    small = ["--start", "random", "--steps", "1", "--semantic.crop", "65", "--batch_size", "1"]
    small += ["--short_side", "64", "--model_options", tiny]
    assert main([*command, *small, "--workers", "0", "--out", str(tmp_path / "run")]) == 0
    config = srzoo.load_model(tmp_path / "run" / "last.safetensors").config
    assert config.classes[:2] == ("road", "sidewalk")
    kept = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())
    assert (kept["optimizer"], kept["semantic"]["ohem"], kept["semantic"]["crop"]) == ("sgd", [0.7, 800000], 65)


def test_error_of_the_data_check(root, tmp_path, write_mask, capsys):
    for path in (root / "masks").iterdir():
        write_mask(path, [0, 255], width=53)
    assert train(root, tmp_path / "run") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert re.search(f"f\\d.* 6 more.*`srzoo data check {root}`", error)
    assert not (tmp_path / "run").exists()


def test_a_recipe_that_does_not_fit_leaves_no_folder(root, tmp_path, capsys):
    assert train(root, tmp_path / "run", "--semantic.class_weights", "1", "2") == 2
    assert "2 class_weights" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_unknown_number_of_classes(root, tmp_path, capsys):
    (root / "classes.txt").unlink()
    assert train(root, tmp_path / "run") == 2
    assert re.search(r"--num_classes N.*classes\.txt", capsys.readouterr().err)


def test_neither_model_nor_recipe(root, capsys):
    assert main(["train", "--data.root", str(root)]) == 2
    assert re.search("--model NAME.*--recipe NAME", capsys.readouterr().err)


def test_every_key_is_in_the_help(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    said = capsys.readouterr().out
    for name in full_names(recipe_keys()):
        assert f"--{name} " in said
    assert "--crop " not in said


@pytest.mark.filterwarnings("ignore:.*held out")
@pytest.mark.parametrize(("mode", "suffix"), [("RGBA", "png"), ("I;16", "png"), ("bands", "npy")])
def test_images_of_other_channels(tmp_path, mode, suffix, capsys):
    channels = {"RGBA": 4, "I;16": 1, "bands": 6}[mode]
    root = tmp_path / "data"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for i in range(5):
        rng = np.random.default_rng(i)
        if mode == "I;16":
            Image.fromarray(rng.integers(0, 1 << 16, (40, 50), dtype=np.uint16)).save(root / "images" / f"f{i}.png")
        elif mode == "RGBA":
            pixels = rng.integers(0, 256, (40, 50, 4), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "images" / f"f{i}.png")
        else:
            np.save(root / "images" / f"f{i}.npy", rng.random((40, 50, 6), dtype=np.float32))
        mask = np.zeros((40, 50), np.uint8)
        mask[10:30] = 1
        Image.fromarray(mask).save(root / "masks" / f"f{i}.png")
    where = ["--data.images", f"images/*.{suffix}", "--data.masks", "masks/*.png", "--num_classes", "2"]
    options = f"{{backbone: test_efficientnet, channels: 32, output_stride: 16, in_channels: {channels}}}"
    assert train(root, tmp_path / "run", *where, "--model_options", options, "--steps", "1") == 0
    model = tmp_path / "run" / "last.safetensors"
    assert srzoo.load_model(model).config.transform.channels == channels
    assert main(["eval", "--model", str(model)]) == 0
    assert "mIoU" in capsys.readouterr().out
    photo = str(root / "images" / f"f0.{suffix}")
    assert main(["segment", "--model", str(model), photo, "--out", str(tmp_path / "segmented")]) == 0
    with Image.open(tmp_path / "segmented" / "f0_overlay.jpg") as picture:
        assert (picture.mode, picture.size) == ("RGB", (50, 40))


def test_the_folder_of_a_run_says_where_it_comes_from():
    from srzoo.cli.train import run_name

    assert run_name("srnet_lite0_camvid") == "srnet_lite0_camvid"
    assert run_name("mine/field.yaml") == run_name("field.safetensors") == "field"
    assert run_name("runs/a/best.safetensors") == "a_tuned"


@pytest.mark.parametrize(
    ("figures", "expected"),
    [((0.5, None, 0.4), "; epoch 1 had 50.00%: {}/best.safetensors"), ((None, 0.3, 0.4), ""), ((), "")],
)
def test_an_earlier_epoch_that_was_better_is_named(figures, expected, tmp_path):
    rows = "".join(f"{i},{i},1.0,{'' if value is None else value}\n" for i, value in enumerate(figures, 1))
    (tmp_path / "log.csv").write_text("step,epoch,loss,mIoU\n" + rows)
    assert _better_epoch(TrainedRun(tmp_path, "mIoU", 0.4)) == expected.format(tmp_path)


def test_another_process_does_not_read_the_log(root, tmp_path, monkeypatch, capsys):
    """The main process alone writes it, on its own machine, perhaps later."""
    run = TrainedRun(tmp_path / "elsewhere", "mIoU", 0.5)
    monkeypatch.setattr("srzoo.train.api.run_recipe", lambda *args: run)
    monkeypatch.setattr("srzoo.cli.train.is_main_process", lambda: False)
    assert train(root, tmp_path / "run") == 0
    assert capsys.readouterr().out == ""


def test_a_figure_that_could_not_be_measured(root, tmp_path, monkeypatch, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "log.csv").write_text("step,epoch,mIoU\n1,1,nan\n")
    monkeypatch.setattr("srzoo.train.api.run_recipe", lambda *args: TrainedRun(tmp_path / "run", "mIoU", float("nan")))
    assert train(root, tmp_path / "run") == 0
    printed = capsys.readouterr().out
    assert "nothing in val is annotated" in printed and "nan" not in printed
