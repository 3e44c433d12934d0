"""What of a backbone stays as it is in training."""

import pytest
import torch

from srzoo.train.freezing import freeze
from tests.train.test_loop import recipe_of, run


def state_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("what", ["no", "norms", "backbone"])
def test_what_changes_in_a_run(small_camvid, tmp_path, what):
    import srzoo
    from srzoo.train.start import starting_model

    recipe = recipe_of(freeze=what, epochs=1, ema_decay=0)
    torch.manual_seed(0)
    before = starting_model(recipe, None, True)
    srzoo.save_model(before, tmp_path / "start.safetensors")
    recipe = recipe_of(freeze=what, epochs=1, ema_decay=0, start=str(tmp_path / "start.safetensors"))
    run(small_camvid, tmp_path / "run", recipe)
    after = srzoo.load_model(tmp_path / "run" / "last.safetensors").state_dict()
    changed = {name for name, value in before.state_dict().items() if not torch.equal(value, after[name])}
    statistics = any(name.startswith("backbone.") and "running" in name for name in changed)
    weights = any(name.startswith("backbone.") and "running" not in name and "num" not in name for name in changed)
    assert (statistics, weights) == {"no": (True, True), "norms": (False, True), "backbone": (False, False)}[what]
    assert any(name.startswith("head.") and "running" in name for name in changed)
    assert any(name.startswith("classifier.") for name in changed)


def test_a_block_in_the_backbone_is_trained():
    import srzoo

    model = srzoo.create_model("mask_rcnn_lite0", num_classes=2)
    norms = freeze(model, "backbone")
    pretrained = {id(each) for each in model.pretrained_parameters()}
    assert norms
    assert all(parameter.requires_grad == (id(parameter) not in pretrained) for parameter in model.parameters())
