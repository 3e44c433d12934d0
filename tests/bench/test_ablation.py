import dataclasses

import pytest
import torch

from srzoo import create_model
from srzoo.recipes.recipe import Recipe


@pytest.fixture
def ablation(load_bench):
    return load_bench("ablation")


def test_every_variant_is_another_model_under_the_same_protocol(ablation):
    protocols, structures = set(), set()
    for setting in ablation.SETTINGS:
        for variant in ablation.VARIANTS | ablation.PROBES:
            recipe = ablation.recipe(setting, variant, seed=3)
            assert recipe.seed == 3
            options = dataclasses.replace(recipe.options, crop=1)
            protocols.add(dataclasses.replace(recipe, model_options={}, options=options, epochs=1).to_yaml())
            with torch.device("meta"):
                model = create_model(recipe.model, **recipe.model_options)
            assert model.backbone is not None
            structures.add((setting, recipe.options.crop, recipe.epochs, str(model)))
    assert len(protocols) == 1
    assert len(structures) == len(ablation.SETTINGS) * len(ablation.VARIANTS | ablation.PROBES)


def test_the_normalized_vector_does_not_depend_on_the_scale_of_the_input(ablation):
    torch.manual_seed(0)
    block = ablation._NormalizedSqueezeReasoning(64, nodes=8)
    torch.nn.init.normal_(block.project.weight)
    x = torch.randn(2, 64, 9, 11)
    torch.testing.assert_close(block.squeeze_vector(30 * x), block.squeeze_vector(10 * x), rtol=1e-3, atol=1e-3)
    assert not torch.allclose(block(x), x)


def test_a_finished_run_is_not_run_again(ablation, tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(ablation, "CSV", tmp_path / "ablation.csv")
    monkeypatch.setattr(ablation, "open_dataset", lambda root, split, kind: split)
    monkeypatch.setattr("srzoo.train.loop.train", lambda recipe, *rest: started.append(recipe) or 0.5)
    command = [
        "ablation.py",
        "--data.root",
        "somewhere",
        "--settings",
        "paper",
        "--variants",
        "none,se",
        "--seeds",
        "1",
    ]
    for _ in range(2):
        monkeypatch.setattr("sys.argv", command)
        ablation.main()
    assert [recipe.model_options["context"] for recipe in started] == ["none", "se"]
    assert all(isinstance(recipe, Recipe) for recipe in started)
    assert [row["miou"] for row in ablation.read_csv(ablation.CSV)] == ["0.5", "0.5"]


def test_a_gpus_run_is_not_told_as_a_cpus(ablation, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(ablation, "CSV", tmp_path / "ablation.csv")
    monkeypatch.setattr(ablation, "open_dataset", lambda root, split, kind: split)
    monkeypatch.setattr("srzoo.train.loop.train", lambda *_: 0.5)
    monkeypatch.setattr(ablation, "machine", lambda device, *_: seen.append(device) or {})
    for has_gpu in (True, False):
        monkeypatch.setattr(ablation.torch.cuda, "is_available", lambda has_gpu=has_gpu: has_gpu)
        ablation.run("paper", "none", 0, "somewhere", tmp_path, 0)
    assert seen == ["cuda", "cpu"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [([], "--data.root"), (["--plot", "--variants", "none,sx"], "sx"), (["--plot", "--settings", "ours"], "ours")],
)
def test_invalid_arguments_are_one_line(ablation, monkeypatch, capsys, arguments, said):
    monkeypatch.setattr("sys.argv", ["ablation.py", *arguments])
    with pytest.raises(SystemExit):
        ablation.main()
    assert said in capsys.readouterr().err.strip().splitlines()[-1]
