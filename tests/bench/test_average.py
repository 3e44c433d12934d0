import pytest
import torch
from safetensors.torch import load_file

import srzoo

OPTIONS = {"backbone": "resnet18", "channels": 16, "nodes": 4, "num_classes": 3}


@pytest.fixture
def average(load_bench):
    return load_bench("average")


def written(folder, name, seed, **options):
    torch.manual_seed(seed)
    model = srzoo.create_model("srnet", pretrained_backbone=False, **OPTIONS | options)
    srzoo.save_model(model, folder / f"{name}.safetensors")
    return folder / f"{name}.safetensors"


def test_the_mean_of_every_tensor(average, tmp_path):
    files = [written(tmp_path, str(seed), seed) for seed in range(3)]
    states = [srzoo.load_model(file).state_dict() for file in files]
    mean = average.average(files).state_dict()
    for name, value in mean.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, sum(state[name] for state in states) / 3)
    assert any(not torch.equal(value, states[0][name]) for name, value in mean.items())


def test_another_model_is_refused(average, tmp_path):
    one = written(tmp_path, "one", 0)
    # The second differs in the shapes of its tensors, the third in what it computes with the same ones.
    for other in (written(tmp_path, "other", 0, channels=24), written(tmp_path, "finer", 0, output_stride=16)):
        for order in ([one, other], [other, one]):
            with pytest.raises(ValueError, match=f"{order[1].name}.*{order[0].name}.*different models"):
                average.average(order)


def test_the_file_is_of_the_dtype_of_those_that_ship(average, tmp_path, monkeypatch):
    files, out = [str(written(tmp_path, str(seed), seed)) for seed in range(2)], tmp_path / "mean.safetensors"
    for options, dtype in ([], torch.float32), (["--half"], torch.float16):
        monkeypatch.setattr("sys.argv", ["average.py", *files, "--out", str(out), *options])
        average.main()
        tensors = load_file(out)
        assert {each.dtype for each in tensors.values() if each.is_floating_point()} == {dtype}
