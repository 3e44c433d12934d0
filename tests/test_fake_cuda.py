"""The CUDA path of every architecture, traced on fake CUDA tensors, so that it is seen on a machine without a GPU.

PyTorch's autograd engine asks the driver for a stream, so it cannot run there; `backward` walks the same tape by hand.
"""

from collections import Counter, defaultdict

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from srzoo import create_model
from srzoo.zoo.registry import ARCHITECTURES
from srzoo_kernels import upsample_argmax, upsample_cross_entropy

NAMES = [name for name, entry in ARCHITECTURES.items() if entry.has_backbone and entry.task == "semantic"]
BLOCK = {"squeeze_reasoning_training", "squeeze_reasoning_training_backward"}


@pytest.fixture(autouse=True)
def many_pixels(monkeypatch):
    """The small maps here take the form of the block that large maps have."""
    monkeypatch.setattr("srzoo.layers.squeeze_reasoning._FEW", 0)


def backward(roots: list[torch.Tensor], gradients: list[torch.Tensor]) -> dict[torch.Tensor, torch.Tensor]:
    """The gradient of every leaf, as ``torch.autograd.backward`` would accumulate it, without the engine."""
    readers = _count_readers([root.grad_fn for root in roots])
    received = defaultdict(dict)  # by node, then by the number of its output
    for root, gradient in zip(roots, gradients, strict=True):
        received[root.grad_fn][root.output_nr] = gradient
    ready = [node for node in received if not readers[node]]
    leaves = {}
    while ready:
        node = ready.pop()
        gradients = received.pop(node)
        if hasattr(node, "variable"):
            leaves[node.variable] = gradients[0]
            continue
        for (source, number), gradient in _through(node, gradients):
            if source is None:
                continue
            if gradient is not None:
                gradient = gradient.sum_to_size(source._input_metadata[number].shape)  # undoes a broadcast
                earlier = received[source].get(number)
                received[source][number] = gradient if earlier is None else earlier + gradient
            readers[source] -= 1
            if not readers[source]:
                ready.append(source)
    return leaves


def _count_readers(roots: list) -> Counter:
    """How many nodes each node waits for."""
    readers, seen, stack = Counter(), set(), list(roots)
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        sources = [source for source, _ in node.next_functions if source is not None]
        readers.update(sources)
        stack += sources
    return readers


def _through(node, gradients: dict[int, torch.Tensor]):
    """Pairs of an edge of ``node`` and the gradient that it passes on."""
    edges, metadata = node.next_functions, node._input_metadata
    if not hasattr(node, "needs_input_grad"):
        passed = node(*(gradients.get(i) for i in range(len(metadata))))
        return zip(edges, passed if isinstance(passed, tuple) else (passed,), strict=True)
    # A Python function: it gets zeros for what nobody read, and answers for arguments that are no tensors, too.
    device = next(iter(gradients.values())).device  # an output without a gradient does not know its own
    filled = [
        gradients[i] if i in gradients else torch.zeros(each.shape, dtype=each.dtype, device=device)
        for i, each in enumerate(metadata)
    ]
    passed = node.apply(*filled)
    passed = [each for each, needed in zip(passed, node.needs_input_grad, strict=True) if needed]
    return zip([edge for edge in edges if edge[0] is not None], passed, strict=True)


def test_the_tape_walked_by_hand_gives_autograd_s_gradients():
    torch.manual_seed(0)
    model = create_model("srnet", backbone="resnet18", num_classes=3, channels=32, nodes=4, dropout=0.0).double()
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    x = torch.randn(2, 3, 33, 47, dtype=torch.float64)
    outputs = model(x, return_aux=True)
    found = backward(list(outputs), [torch.ones_like(each) for each in outputs])
    expected = torch.autograd.grad([each.sum() for each in model(x, return_aux=True)], list(model.parameters()))
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(found[parameter], gradient, rtol=1e-8, atol=1e-8)


def training_step(model):
    logits = model(torch.randn(2, 3, 65, 97), return_aux=True, upsample=False)
    losses = [upsample_cross_entropy(each, torch.zeros(2, 65, 97, dtype=torch.long)) for each in logits]
    gradients = backward(losses, [torch.ones_like(loss) for loss in losses])
    return [gradients[parameter] for parameter in model.parameters()]


@torch.no_grad()
def logits(model):
    return model(torch.randn(1, 3, 65, 97), return_aux=True)


@torch.no_grad()
def labels(model):
    return upsample_argmax(model(torch.randn(1, 3, 65, 97), upsample=False), (65, 97))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("step", "training", "own"),
    [
        (training_step, True, {"upsample_cross_entropy", "upsample_cross_entropy_backward"}),
        (labels, False, {"upsample_argmax"}),
        (logits, False, {"upsample_bilinear"}),
    ],
    ids=["training", "labels", "logits"],
)
def test_everything_stays_on_the_gpu(name, step, training, own):
    with FakeTensorMode(), torch.device("cuda"):
        model = create_model(name, num_classes=19).train(training)
        nodes = make_fx(lambda: step(model))().graph.nodes
    values = [node.meta.get("val") for node in nodes]
    tensors = [each for value in values for each in (value if isinstance(value, (tuple, list)) else [value])]
    assert {each.device.type for each in tensors if isinstance(each, torch.Tensor)} == {"cuda"}
    operators = {node.target for node in nodes if str(node.target).startswith("srzoo.")}
    if name.startswith("srnet"):
        own = own | (BLOCK if training else {"squeeze_reasoning"})
    assert {each.name().removeprefix("srzoo::") for each in operators} == own
    for each in operators:
        assert torch._C._dispatch_has_computed_kernel_for_dispatch_key(each.name(), "CUDA"), each


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "srnet_lite0" else pytest.mark.slow) for name in NAMES]
)
@pytest.mark.parametrize("training", [True, False])
def test_torch_compile_traces_the_gpu_s_path_without_a_break(name, training):
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("eager")
    with FakeTensorMode(), torch.device("cuda"):
        model = create_model(name, num_classes=19).train(training)
        torch.compile(model, backend=counter, fullgraph=True)(torch.randn(2, 3, 65, 97), return_aux=training)
    assert counter.frame_count == 1
