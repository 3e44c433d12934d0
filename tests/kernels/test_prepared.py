"""Launches that are kept: they pass what Triton's own launch passes, for whatever they were not made for too."""

import threading

import pytest
import torch

pytest.importorskip("triton")
from triton import knobs

from srzoo_kernels import (
    channel_affine,
    conv2d_act,
    gram,
    graph_reason,
    squeeze_reasoning,
    upsample_argmax,
    upsample_bilinear,
)
from srzoo_kernels.gram._triton import plan_gram
from srzoo_kernels.idle_driver._triton import pointer
from srzoo_kernels.launch import H100, kernels_of, target_of
from srzoo_kernels.layout import empty_map
from srzoo_kernels.prepared import plan
from srzoo_kernels.prepared.plan import launched


@pytest.fixture
def launches_of(idle):
    """The launches of a call: kernel, grid, and arguments with a pointer as an address."""

    def run(call):
        idle.launches.clear()
        results = call()
        return results, [
            (each.kernel, each.grid, [pointer(value) for value in each.arguments]) for each in idle.launches
        ]

    return run


@pytest.fixture
def by_triton(monkeypatch):
    """Make every launch go through Triton's own code, as if no plan were kept."""

    def switch():
        monkeypatch.setattr(plan.Prepared, "__call__", _call_by_triton)

    return switch


_call = plan.Prepared.__call__


def _call_by_triton(self, operands):
    self._steps = None
    return _call(self, operands)


def maps(dtype=torch.float16, shape=(2, 64, 33, 40), **options):
    return torch.randn(shape).to(dtype, **options)


def block_weights():
    return [torch.randn(shape).half() for shape in ((32, 64), (32, 64), (64, 32), (8, 8), (4, 4))]


CALLS = {
    "gram": lambda: (gram, maps()),
    "gram of one split": lambda: (gram, maps(shape=(1, 64, 1, 9))),
    "gram, channels_last": lambda: (gram, maps(memory_format=torch.channels_last)),
    "channel_affine": lambda: (channel_affine, maps(), torch.randn(2, 64, 64).half()),
    "channel_affine, transposed": lambda: (channel_affine, maps(), torch.randn(2, 64, 64).half().mT),
    "channel_affine, bias": lambda: (channel_affine, maps(), torch.randn(2, 64, 64).half(), torch.randn(2, 64)),
    "graph_reason": lambda: (graph_reason, torch.randn(2, 12), torch.randn(3, 3), torch.randn(4, 4)),
    "squeeze_reasoning": lambda: (squeeze_reasoning, maps(), *block_weights()),
    "upsample_argmax": lambda: (upsample_argmax, maps(shape=(2, 19, 5, 7)), (40, 56)),
    "upsample_argmax, probability": lambda: (upsample_argmax, maps(shape=(2, 19, 5, 7)), (40, 56), True, True),
    "upsample_bilinear": lambda: (upsample_bilinear, maps(shape=(2, 19, 5, 7)), (40, 56)),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_kept_launch_passes_what_triton_s_own_passes(name, launches_of, by_triton, monkeypatch):
    function, *operands = CALLS[name]()
    blocks = []  # every allocation of a call again at the same address, so that pointers can be compared
    empty, strided = torch.Tensor.new_empty, torch.Tensor.new_empty_strided

    def held(make):
        def allocate(self, *arguments, **options):
            if self.device.type == "meta":
                return make(self, *arguments, **options)
            key = (make, str(arguments), str(options), len(used))
            used.append(key)
            blocks.append((key, make(self, *arguments, **options))) if key not in dict(blocks) else None
            return dict(blocks)[key]

        return allocate

    used: list = []
    monkeypatch.setattr(torch.Tensor, "new_empty", held(empty))
    monkeypatch.setattr(torch.Tensor, "new_empty_strided", held(strided))
    seen = []
    for _ in range(3):
        used.clear()
        seen.append(launches_of(lambda: function(*operands))[1])
    by_triton()
    used.clear()
    expected = launches_of(lambda: function(*operands))[1]
    assert expected and all(each == expected for each in seen)


def test_a_kept_launch_does_not_go_through_triton_s_own(idle, monkeypatch):
    x = maps()
    gram(x)
    monkeypatch.setattr(plan.Prepared, "_launch_by_triton", None)
    count = idle.count
    gram(maps())
    assert idle.count == 2 * count


@pytest.mark.parametrize(
    "other",
    [
        lambda x: x.bfloat16(),
        lambda x: x.float(),
        lambda x: x[:, :48].contiguous(),
        lambda x: x[:, :, :1].contiguous(),
        lambda x: x[:1],
        lambda x: x.contiguous(memory_format=torch.channels_last),
    ],
    ids=["dtype", "wider dtype", "channels", "height", "batch", "memory format"],
)
def test_another_operand_gets_a_plan_of_its_own(other, launches_of):
    x = maps()
    gram(x)
    changed = other(x)
    _, first = launches_of(lambda: gram(changed))  # planned
    _, second = launches_of(lambda: gram(changed))  # kept
    assert len(plan._kept) == 2
    for (kernel, grid, arguments), (_, other_grid, others) in zip(first, second, strict=True):
        scalars = [value for value in arguments if not _is_address(value)]
        assert grid == other_grid and scalars == [value for value in others if not _is_address(value)], kernel


def _is_address(value):
    return isinstance(value, int) and value > 2**32


def test_tf32_is_part_of_what_a_plan_is_kept_for(launches_of):
    x = maps(torch.float32)
    before = torch.backends.cuda.matmul.allow_tf32
    seen = {}
    try:
        for allowed in (False, True, False, True):
            torch.backends.cuda.matmul.allow_tf32 = allowed
            seen.setdefault(allowed, []).append(launches_of(lambda: gram(x))[1][0][2])
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    assert all("tf32" in arguments for arguments in seen[True]) and all("ieee" in each for each in seen[False])


def test_a_pointer_that_is_not_aligned_is_left_to_triton(idle, monkeypatch):
    """Triton compiles another kernel for it, with narrower loads."""
    flat = torch.randn(2 * 64 * 33 * 40 + 8).half()
    aligned, shifted = (flat[start:][: 2 * 64 * 33 * 40].view(2, 64, 33, 40) for start in (0, 1))
    gram(aligned)
    calls = []
    original = plan.Prepared._launch_by_triton
    monkeypatch.setattr(
        plan.Prepared, "_launch_by_triton", lambda self, *rest: calls.append(rest[-1]) or original(self, *rest)
    )
    gram(shifted)
    gram(aligned)
    gram(shifted)
    assert calls == [False, False]
    assert len(plan._kept) == 1


def test_each_call_allocates_what_it_writes(launches_of):
    """So that calls on two streams, or in a CUDA graph and beside it, never share a partial result."""
    x = maps()
    gram(x)
    first, one = launches_of(lambda: gram(x))
    kept = torch.empty(1 << 22, dtype=torch.uint8)  # where the freed workspace lay
    second, two = launches_of(lambda: gram(x))
    del kept
    assert not {each.data_ptr() for each in first} & {each.data_ptr() for each in second}
    assert one[0][2][0] == two[0][2][0] == x.data_ptr()


def test_launches_go_to_the_current_stream(idle, monkeypatch):
    x = maps()
    gram(x)
    for stream in (7, 8):
        idle.launches.clear()
        monkeypatch.setattr("srzoo_kernels.launch.current_stream", lambda x, stream=stream: stream)
        gram(x)
        assert {each.stream for each in idle.launches} == {stream}


def test_several_threads_may_call_at_once(idle):
    sides = [4 + side for side in range(6)]
    inputs = [maps(shape=(1, 64, side, side)) for side in sides]
    for x in inputs:
        gram(x)
    failures = []

    def work():
        try:
            for _ in range(20):
                for x in inputs:
                    assert gram(x)[0].shape == (1, 64, 64)
                plan.forget()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not failures


def test_the_number_of_kept_plans_is_limited(idle, monkeypatch):
    monkeypatch.setattr(plan, "_KEPT", 3)
    for side in (4, 5, 6, 7, 8):
        gram(maps(shape=(1, 64, side, 5)))
    assert len(plan._kept) == 3
    count = idle.count
    gram(maps(shape=(1, 64, 4, 5)))
    assert idle.count > count and len(plan._kept) == 3


def test_profilers_hear_of_kept_launches(idle):
    x = maps(shape=(1, 64, 3, 5))
    gram(x)
    heard = []
    hook = lambda metadata: heard.append(metadata.get()["name"])  # noqa: E731
    knobs.runtime.launch_enter_hook.add(hook)
    try:
        assert kernels_of("srzoo_kernels.prepared").is_watched()
        gram(x)
        assert heard == ["pixel_product_kernel"]
    finally:
        knobs.runtime.launch_enter_hook.remove(hook)
    assert not kernels_of("srzoo_kernels.prepared").is_watched()


def test_partial_results_do_not_overlap():
    """A plan with two partial results of odd sizes, told apart by their places in the workspace."""
    from srzoo_kernels.launch import Launch

    def planned(x, target):
        y, first, second = empty_map(x), x.new_empty(7), x.new_empty(3, 5)
        return [Launch(None, (1, 1, 1), {"a": first, "b": second[1:], "c": y, "d": x, "e": 3})], (y,)

    x = torch.randn(1, 2, 3, 4)
    prepared = plan.Prepared(planned, (x,), (), H100)
    a, b, c, d = (prepared._launches[0].arguments[name] for name in "abcd")
    assert (a.source, b.source, c.source, d.source) == (2, 2, 1, 0)
    assert b.shift >= a.shift + 4 * 7 and b.shift % 4 == 0 and prepared._workspace >= b.shift + 4 * 10
    workspace = torch.zeros(prepared._workspace, dtype=torch.uint8)
    b.tensor([x, x, workspace]).fill_(1.0)
    a.tensor([x, x, workspace]).fill_(2.0)
    assert (b.tensor([x, x, workspace]) == 1).all() and b.tensor([x, x, workspace]).shape == (2, 5)


def test_an_empty_batch_launches_nothing(idle):
    logits = torch.randn(0, 3, 4, 5)
    assert upsample_argmax(logits, (8, 9)).shape == (0, 8, 9) and idle.count == 0
    assert target_of(logits) == H100 and launched(plan_gram, (maps(),))


@pytest.mark.parametrize("activation", ["identity", "relu", "relu6"])
def test_a_convolution_is_one_launch_beside_the_library_s(activation, idle):
    x = torch.randn(1, 32, 9, 7).contiguous(memory_format=torch.channels_last)
    for _ in range(2):
        idle.launches.clear()
        y = conv2d_act(x, torch.randn(5, 5, 32), torch.randn(32), activation, padding=(2, 2, 2, 2))
        assert [each.kernel for each in idle.launches] == ["depthwise_kernel"]
        assert y.shape == x.shape and y.is_contiguous(memory_format=torch.channels_last)
        idle.launches.clear()
        conv2d_act(x, torch.randn(8, 32, 3, 3), torch.randn(8), activation, torch.randn(1, 8, 7, 5))
        assert [each.kernel for each in idle.launches] == ["epilogue_kernel"]
