import json
import os

import pytest

from srzoo import list_models, model_info


@pytest.fixture
def hub(run_python, request):
    """Run code in a process that cannot import srzoo, with the path of the checkout as REPO."""
    root = request.config.rootpath

    def run(code: str) -> str:
        result = run_python("-c", f"import torch\nREPO = {str(root)!r}\n{code}", env={"PYTHONPATH": os.devnull})
        assert result.returncode == 0, result.stderr
        return result.stdout

    return run


@pytest.fixture
def entries(hub):
    """Docstrings of the entries, found as by torch.hub.list and torch.hub.help, which only take a remote repository."""
    code = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("hubconf", REPO + "/hubconf.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
assert "timm" not in sys.modules and "srzoo.zoo.factory" not in sys.modules
names = [name for name in dir(module) if callable(getattr(module, name)) and not name.startswith("_")]
print(json.dumps({name: getattr(module, name).__doc__ for name in names}))
"""
    return json.loads(hub(code))


def test_every_name_with_a_backbone_is_an_entry(entries):
    assert sorted(entries) == sorted(name for name in list_models() if not model_info(name).needs_backbone)
    assert "srnet" not in entries and "srnet_mask_rcnn_lite0_facade" in entries


def test_help_lists_the_arguments_and_the_output(entries):
    for name, text in entries.items():
        assert "pretrained (bool)" in text
        classes = len(model_info(name).classes) or "num_classes"
        output = f"(N, {classes}, H, W) logits" if model_info(name).task == "semantic" else f"of {classes} classes"
        assert output in text, name
        assert ("things=" in text) == (model_info(name).task == "panoptic")


def test_load_pretrained_from_a_checkout(hub):
    code = (
        "model = torch.hub.load(REPO, 'srnet_lite0_camvid', source='local', pretrained=True).eval()\n"
        "with torch.inference_mode(): print(tuple(model(torch.zeros(1, 3, 97, 64)).shape), model.config.classes[3])"
    )
    assert hub(code).strip().endswith("(1, 11, 97, 64) road")


def test_entries_without_a_dataset_take_the_number_of_classes(hub):
    code = "print(torch.hub.load(REPO, 'srnet_lite0', num_classes=4, source='local').num_classes)"
    assert hub(code).strip().endswith("4")
