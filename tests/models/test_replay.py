import copy
import threading

import pytest
import torch

from srzoo.models import replay
from srzoo.models.replay import Replay


@pytest.fixture
def recorded(monkeypatch):
    """Captures that run the call again, into the same result, as a graph does; the list of their inputs' shapes."""
    shapes = []

    def record(call, device):
        result = call()
        shapes.append(tuple(result.shape))
        return torch.inference_mode()(lambda: result.copy_(call())), result

    monkeypatch.setattr(replay, "record", record)
    return shapes


@torch.inference_mode()
def test_a_shape_is_captured_when_it_comes_again(recorded):
    calls = []
    function = Replay(lambda x, scale=1: calls.append(x) or scale * x)
    inputs = [torch.randn(1, 3, 5, 7) for _ in range(4)]
    results = [function(x, scale=2) for x in inputs]
    assert recorded == [(1, 3, 5, 7)]
    for x, y in zip(inputs, results, strict=True):  # none was overwritten by a later replay
        assert torch.equal(y, 2 * x)
    assert torch.equal(function(inputs[0], scale=3), 3 * inputs[0]) and len(recorded) == 1  # other options, seen once
    assert torch.equal(function(inputs[0].mT, scale=2), 2 * inputs[0].mT) and len(recorded) == 1  # and another shape


@torch.inference_mode()
def test_the_least_recently_used_goes_first(recorded):
    function = Replay(torch.relu, limit=2)
    small, middle, large = (torch.randn(1, 1, 4, side) for side in (4, 5, 6))
    for x in (small, small, middle, middle, small, large, large, small):
        assert torch.equal(function(x), x.relu())
    assert [shape[3] for shape in recorded] == [4, 5, 6]
    function(middle)
    function(middle)
    assert [shape[3] for shape in recorded] == [4, 5, 6, 5]


def test_a_graph_of_inference_mode_serves_no_grad(recorded):
    function, x = Replay(torch.relu), torch.randn(1, 1, 4, 4)
    with torch.inference_mode():
        function(x)
        function(x)
    with torch.no_grad():
        assert torch.equal(function(-x), (-x).relu()) and len(recorded) == 1


def test_gradients_are_never_replayed(recorded):
    function = Replay(torch.relu)
    x = torch.randn(1, 1, 4, 4, requires_grad=True)
    for _ in range(3):
        function(x).sum().backward()
    assert torch.equal(x.grad, 3.0 * (x > 0)) and not recorded


@torch.inference_mode()
def test_a_failed_capture_is_said_once_and_the_function_runs(monkeypatch):
    def record(call, device):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    monkeypatch.setattr(replay, "record", record)
    function, x = Replay(torch.relu), torch.randn(1, 1, 4, 6)
    function(x)
    with pytest.warns(UserWarning, match=r"6x4 .*out of memory") as warned:
        results = [function(x) for _ in range(3)]
    assert len(warned) == 1 and all(torch.equal(y, x.relu()) for y in results)


@torch.inference_mode()
def test_an_image_gets_the_memory_of_the_graphs(recorded):
    function = Replay(lambda x: network(x))

    def network(x):
        if x.shape[3] == 6 and any(function._graphs.values()):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
        return x.relu()

    small, large = torch.randn(1, 1, 4, 4), torch.randn(1, 1, 4, 6)
    function(small)
    function(small)
    assert any(function._graphs.values())
    assert torch.equal(function(large), large.relu()) and not any(function._graphs.values())


@torch.inference_mode()
def test_autocast_is_not_replayed(recorded):
    function, x = Replay(torch.relu), torch.randn(1, 1, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        for _ in range(3):
            function(x)
    assert not recorded and not function._graphs


def test_it_has_the_attributes_of_the_network_and_a_copy_its_own_weights(recorded):
    function = Replay(torch.nn.Conv2d(3, 4, 1), limit=2)
    assert (function.out_channels, function.limit) == (4, 2)
    with pytest.raises(AttributeError, match="heads"):
        function.heads  # noqa: B018
    x = torch.randn(1, 3, 4, 4)
    with torch.inference_mode():
        for _ in range(2):
            function(x)
    other = copy.deepcopy(function)
    assert other.limit == 2 and not other._graphs
    torch.nn.init.zeros_(other.weight)
    with torch.inference_mode():
        assert torch.equal(function(x), function.network(x)) and not torch.equal(function(x), other(x))


def test_a_capture_needs_a_gpu():
    with pytest.raises(ValueError, match="cpu"):
        replay.record(lambda: torch.ones(1), torch.device("cpu"))
    assert not torch.backends.cudnn.benchmark


def test_two_threads_capture_one_after_the_other(monkeypatch):
    """Else the second would find cuDNN's flag as the first has set it, and leave it on."""
    second_is_inside, flags = threading.Event(), []

    def device(which):
        flags.append(torch.backends.cudnn.benchmark)
        if which == "first":
            second_is_inside.wait(0.2)
        else:
            second_is_inside.set()
            threads[0].join(5)
        raise ValueError(which)

    def capture(which):
        with pytest.raises(ValueError, match=which):
            replay.record(lambda: torch.ones(1), which)

    monkeypatch.setattr(torch.cuda, "device", device)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    threads = [threading.Thread(target=capture, args=(which,)) for which in ("first", "second")]
    threads[0].start()
    while not flags:
        pass
    threads[1].start()
    for thread in threads:
        thread.join(5)
    assert flags == [True, True] and not torch.backends.cudnn.benchmark
