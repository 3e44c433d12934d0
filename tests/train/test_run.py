import pytest
import torch

from srzoo.data.opening import open_dataset
from srzoo.recipes.recipe import load_recipe
from srzoo.train.run import Run, read_checkpoint, write_checkpoint


def run(scaler: torch.amp.GradScaler | None = None) -> Run:
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    return Run(model, None, optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0), scaler)


def test_state_without_a_scaler_loads_into_a_run_with_one():
    before, after = run(), run(torch.amp.GradScaler("cpu"))
    before.step = 7
    after.load(before.state())
    assert after.step == 7
    assert torch.equal(after.model.weight, before.model.weight)


def test_checkpoint_older_than_a_recipe_key(small_camvid, tmp_path):
    recipe, data = load_recipe("srnet_lite0_camvid"), open_dataset(small_camvid, "train")
    write_checkpoint(run(), recipe, data, tmp_path)
    content = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    del content["recipe"]["semantic"]["max_class_share"]
    torch.save(content, tmp_path / "checkpoint.pt")
    assert read_checkpoint(tmp_path, recipe, data)["step"] == 0
    with pytest.raises(ValueError, match=r"semantic\.max_class_share=0\.75.* 1\.0"):
        read_checkpoint(tmp_path, load_recipe("srnet_lite0_camvid", **{"semantic.max_class_share": 1}), data)


def test_checkpoint_of_the_first_version(small_camvid, tmp_path):
    """Its recipe has no blocks, and its history has the key "miou"."""
    recipe, data = load_recipe("srnet_dfv2_camvid"), open_dataset(small_camvid, "train")
    state = run()
    state.history = [{"step": 1, "mIoU": 0.5}]
    write_checkpoint(state, recipe, data, tmp_path)
    content = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    keys = content["recipe"]
    del keys["start"]
    content["recipe"] = {**keys.pop("semantic"), **keys, "pretrained": False, "pretrained_backbone": False}
    content["history"] = [{"step": 1, "miou": 0.5}]
    del content["interval"]["losses"]
    torch.save(content, tmp_path / "checkpoint.pt")
    found = read_checkpoint(tmp_path, recipe, data)
    assert found["history"] == [{"step": 1, "mIoU": 0.5}]
    after = run()
    after.load(found)
    assert after.interval.losses == {}


def test_full_disk_is_one_error_and_keeps_the_checkpoint(small_camvid, tmp_path, monkeypatch):
    (tmp_path / "checkpoint.pt").write_bytes(b"old")

    def full(content, path):
        path.write_bytes(b"half")
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598\nmore")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match=r"checkpoint\.pt.* [\d,]+ bytes.*unexpected pos 704"):
        write_checkpoint(run(), load_recipe("srnet_lite0_camvid"), open_dataset(small_camvid, "train"), tmp_path)
    assert [path.name for path in tmp_path.glob("*.p*")] == ["checkpoint.pt"]
    assert (tmp_path / "checkpoint.pt").read_bytes() == b"old"
