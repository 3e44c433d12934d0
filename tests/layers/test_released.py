import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from srzoo.layers import ReleasedSqueezeReasoning

# Weights of the authors' module in evaluation mode, an input, and the output of their code.
FIXTURE = Path(__file__).parent / "data" / "channel_reason_module.safetensors"
THEIR_NAMES = {
    "t": "transform",
    "p": "left",
    "g": "right",
    "conv_adj": "adjacency",
    "bn_adj": "adjacency_norm",
    "conv_wg": "weight",
    "bn_wg": "weight_norm",
    "z": "project",
    "gn": "norm",
}


def block(channels=24, nodes=4, dtype=torch.float64) -> ReleasedSqueezeReasoning:
    torch.manual_seed(0)
    module = ReleasedSqueezeReasoning(channels, nodes)
    for norm in (module.norm, module.adjacency_norm, module.weight_norm):
        torch.nn.init.normal_(norm.weight, 1, 0.3)
        torch.nn.init.normal_(norm.bias)
    return module.to(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-5), (torch.float32, 2e-4)])
@pytest.mark.parametrize("form", ["forward", "forward_direct"])
def test_agrees_with_the_authors_code(form, dtype, tolerance):
    """The stored output is float32, which limits the comparison in float64 as well."""
    tensors = load_file(FIXTURE)
    module = ReleasedSqueezeReasoning(128).eval()
    state = {}
    for key, value in tensors.items():
        if key.startswith("module."):
            part, _, rest = key.removeprefix("module.").partition(".")
            state[f"{THEIR_NAMES[part]}.{rest}"] = value
    missing = module.load_state_dict(state, strict=False).missing_keys
    assert all(key.endswith("num_batches_tracked") for key in missing)
    y = getattr(module.to(dtype), form)(tensors["input"].to(dtype))
    torch.testing.assert_close(y, tensors["output"].to(dtype), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (33, 47)])
def test_both_forms_agree_in_values_and_all_gradients(size, training, both_forms):
    module = block().train(training)
    x = torch.randn(2, 24, *size, dtype=torch.float64, requires_grad=True)
    for value, expected in zip(*both_forms(module, x)):
        torch.testing.assert_close(value, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_with_values_whose_sum_would_overflow(dtype):
    module = block(dtype=torch.float32).eval()
    x = (torch.randn(1, 24, 64, 64) * 8 + 20).to(dtype)
    half = copy.deepcopy(module).to(dtype)
    wide = copy.deepcopy(half).float()  # with the same rounded weights
    assert half.squeeze_vector(x).abs().max() > torch.finfo(torch.float16).max
    y, expected = half(x), wide(x.float())
    assert y.dtype == dtype and (y.float() - expected).norm() < 2 * torch.finfo(dtype).eps * expected.norm()


def test_a_block_in_half_precision_keeps_running_statistics():
    module, x = block(dtype=torch.bfloat16), torch.randn(2, 24, 7, 5, dtype=torch.bfloat16)
    wide = block(dtype=torch.float32)
    module(x).sum().backward()
    wide(x.float())
    for norm, expected in ((module.adjacency_norm, wide.adjacency_norm), (module.weight_norm, wide.weight_norm)):
        torch.testing.assert_close(norm.running_mean.float(), expected.running_mean, rtol=2e-2, atol=2e-2)
        assert norm.num_batches_tracked == 1 and norm.weight.grad.isfinite().all()


def test_trains_where_the_released_code_fails():
    """Their in-place add after the ReLU breaks the backward on a current PyTorch."""
    module = block(dtype=torch.float32).train()
    module(torch.randn(2, 24, 6, 6)).square().mean().backward()
    assert all(p.grad.isfinite().all() for p in module.parameters())
    assert module.adjacency.weight.grad.abs().max() > 0


@pytest.mark.parametrize(("nodes", "lone"), [(12, "adjacency_norm"), (1, "weight_norm")])
def test_trains_at_batch_size_1_when_a_norm_has_one_value(nodes, lone, both_forms):
    """With one channel per node, or one node, a norm uses its running statistics and does not update them."""
    module = block(nodes=nodes).train()
    x = torch.randn(1, 24, 5, 7, dtype=torch.float64, requires_grad=True)
    for value, expected in zip(*both_forms(module, x)):
        assert value.isfinite().all()
        torch.testing.assert_close(value, expected, rtol=1e-7, atol=1e-9)
    moved = {name: module.get_submodule(name).running_mean.any().item() for name in ("adjacency_norm", "weight_norm")}
    assert moved == {"adjacency_norm": True, "weight_norm": True, lone: False}


def test_shapes_of_the_released_state_dict():
    """SRNet R50's ``head.module``: 512 channels, 32 nodes."""
    shapes = {name: tuple(p.shape) for name, p in ReleasedSqueezeReasoning(512).named_parameters()}
    assert shapes["transform.weight"] == shapes["left.weight"] == shapes["right.weight"] == (256, 512, 1, 1)
    assert shapes["project.weight"] == (512, 1, 1, 1)
    assert shapes["adjacency.weight"] == (32, 32, 1)
    assert shapes["weight.weight"] == (8, 8, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((7,), "channels .*even.* 2, got 7"), ((48, 5), "channels/2 = 24 .*nodes=5")],
)
def test_construction_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        ReleasedSqueezeReasoning(*arguments)
