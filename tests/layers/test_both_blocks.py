"""Tests of both `SqueezeReasoning` and `ReleasedSqueezeReasoning`."""

import copy
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.nn.utils import prune, spectral_norm, weight_norm

from srzoo.layers import ReleasedSqueezeReasoning, SqueezeReasoning
from srzoo.layers.reasoning import REASONING

pytestmark = pytest.mark.usefixtures("form")
blocks = pytest.mark.parametrize("kind", [SqueezeReasoning, ReleasedSqueezeReasoning])


def block(kind, channels=64, nodes=4):
    """A block with random matrices: a new one's projection is zero, and its reasoning may be the identity."""
    torch.manual_seed(0)
    module = kind(channels, nodes=nodes)
    nn.init.normal_(module.project.weight, std=0.2)
    if kind is SqueezeReasoning:
        nn.init.normal_(module.pair.weight, std=0.1)
        for parameter in module.reasoning.parameters():
            nn.init.normal_(parameter, std=0.3)
    return module


@blocks
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_a_block_in_half_precision_is_as_accurate_as_its_direct_form(kind, dtype):
    module = block(kind).eval()
    x = torch.randn(2, 64, 33, 47) + 0.3
    expected = module(x)
    module, x = module.to(dtype), x.to(dtype).requires_grad_()
    y = module(x)
    assert y.dtype == dtype
    error, direct = ((each.float() - expected).norm() for each in (y, module.forward_direct(x)))
    assert error <= 1.5 * direct
    y.float().square().mean().backward()
    assert all(each.grad.dtype == dtype and each.grad.isfinite().all() for each in (x, *module.parameters()))


def replica(module):
    """A copy as `nn.DataParallel` makes, whose weights are attributes instead of parameters."""
    copied = module._replicate_for_data_parallel()
    copied._parameters = {name: None for name, each in module._parameters.items() if each is None}
    for name, each in module._parameters.items():
        if each is not None:
            setattr(copied, name, each.detach())
    copied._modules = {name: each and replica(each) for name, each in module._modules.items()}
    return copied


@pytest.mark.parametrize("reasoning", ["graph", "attention", "fc", "none", "own", "released"])
@torch.no_grad()
def test_a_block_in_half_precision_is_traced_and_replicated(reasoning):
    module = block(ReleasedSqueezeReasoning if reasoning == "released" else SqueezeReasoning).eval()
    if reasoning == "own":
        module.reasoning = nn.Sequential(nn.Linear(32, 32), nn.Sigmoid())
    elif reasoning != "released":
        module.reasoning = REASONING[reasoning](4, 8)
    module, x = module.half(), torch.randn(2, 64, 33, 17).half()
    expected = module(x)
    torch.testing.assert_close(torch.jit.trace(module, x, check_trace=False)(x), expected)
    torch.testing.assert_close(replica(module)(x), expected)


@blocks
def test_autograd_keeps_three_matrices_beside_the_map(kind):
    """These are 5 % of a map of 512 channels at 128x256."""
    module = block(kind)
    x = torch.randn(1, 64, 8, 9).requires_grad_()
    known = {each.untyped_storage().data_ptr() for each in (x, *module.parameters())}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = module(x)
    assert y.requires_grad and sum(kept.values()) < 3.5 * 4 * 64**2


def pruned(layer):
    prune.l1_unstructured(layer, "weight", 0.5)


@blocks
@pytest.mark.parametrize("change", [pruned, weight_norm, spectral_norm])
@pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated:FutureWarning")
def test_what_sets_a_weight_before_each_call_is_respected(kind, change):
    """Pruning and the older normalizations; the layers are not called."""
    module, x = block(kind).eval(), torch.randn(2, 64, 17, 19)
    for name in ("transform", "project"):
        change(getattr(module, name))
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-3)
    seen = []
    for _ in range(2):
        y = module(x)
        torch.testing.assert_close(y, module.forward_direct(x), rtol=1e-4, atol=1e-4)
        optimizer.zero_grad()
        y.square().mean().backward()
        optimizer.step()
        seen.append(y)
    assert not torch.equal(*seen)


@blocks
def test_nan_in_the_input_is_an_error(kind):
    module = block(kind)
    x = torch.randn(2, 64, 7, 5)
    x[1, 2, 3, 4] = float("nan")
    with pytest.raises(ValueError, match="^x .*image 1 1 of 2240"):
        module(x)


def test_overflow_in_half_precision_is_an_error():
    """The squeezed vector, of numbers above 256, passes what float16 holds, and so does what multiplies the map."""
    module = block(SqueezeReasoning).eval().half()
    x = torch.full((1, 64, 9, 8), 1e4, dtype=torch.float16)
    with pytest.raises(ValueError, match=r"^(z|matrix) .*image 0 .*torch.float16 .*6\.6e\+04"):
        module(x)


@blocks
def test_a_part_with_the_moments_of_the_whole_map_gives_that_part_of_the_result(kind):
    module = block(kind).eval()
    x = torch.randn(2, 64, 12, 10) + torch.linspace(0, 3, 10)
    whole = module(x)
    left, right = x[..., :4], x[..., 4:]
    moments = module.moments(left) + module.moments(right)
    assert moments.pixels == 120
    torch.testing.assert_close(module(left, moments), whole[..., :4])
    with module.given(moments):
        torch.testing.assert_close(module(right), whole[..., 4:])
    assert (module(left) - whole[..., :4]).abs().max() > 1e-2


def test_average_squeeze_has_no_second_moments():
    moments = SqueezeReasoning(64, squeeze="average").moments(torch.ones(1, 64, 3, 5))
    assert (moments + moments).second is None
    torch.testing.assert_close((moments + moments).mean, torch.ones(1, 64))


@blocks
def test_given_moments_hold_for_one_block_in_one_thread_within_the_with_statement(kind):
    module, x = block(kind).eval(), torch.randn(1, 64, 6, 5)
    other, far = copy.deepcopy(module), module.moments(torch.randn(1, 64, 8, 8) + 2)
    own, given = module(x), module(x, far)
    with pytest.raises(KeyError), module.given(module.moments(x)):
        with module.given(far), ThreadPoolExecutor(1) as pool:
            assert torch.equal(module(x), given)
            assert torch.equal(other(x), own)
            assert torch.equal(pool.submit(module, x).result(), own)
        torch.testing.assert_close(module(x), own)
        with module.given(far):
            raise KeyError
    assert torch.equal(module(x), own)


@blocks
def test_compiled_blocks_take_given_moments(kind):
    module, x = block(kind).eval(), torch.randn(1, 64, 6, 5)
    far = module.moments(torch.randn(1, 64, 8, 8) + 2)
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    for _ in range(2):
        torch.testing.assert_close(compiled(x), module(x))
        torch.testing.assert_close(compiled(x, far), module(x, far))
        with module.given(far):
            torch.testing.assert_close(compiled(x), module(x, far))
