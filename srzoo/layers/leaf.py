"""What ``torch.fx`` and ``torch.jit.script`` do with srzoo's modules.

The first takes some as one call, as ``torch.nn``'s layers, and no network. The second takes none.
"""

from torch import fx, nn


def as_leaf(module: nn.Module, x: fx.Proxy, *others: object) -> fx.Proxy:
    """The call ``module(x, *others)`` in the graph that is being traced.

    For ``torch.fx.symbolic_trace`` and torchvision's ``create_feature_extractor``, which cannot trace a forward that
    depends on shapes, and know no leaves but those of ``torch.nn``.

    Raises:
        TypeError: ``module`` is the network that is traced.
    """
    path = x.tracer.path_of_module(module)
    if not path:
        raise TypeError(f"torch.fx cannot trace {type(module).__name__} alone; trace a network that has it")
    return x.tracer.create_proxy("call_module", path, (x, *others), {})


def refuse_tracing(x: object) -> None:
    """Refuse to trace a network, as what it does depends on the size of ``x``, its input.

    Raises:
        TypeError: ``torch.fx`` is tracing.
    """
    if isinstance(x, fx.Proxy):
        raise TypeError(
            "torch.fx cannot trace srzoo's networks, whose padding depends on the image's size: take torch.export, for "
            "detectors srzoo.export_program, or for features a hook, as model.head.context.register_forward_hook(...)"
        )


class NotScriptable:
    """Base of modules that ``torch.jit.script`` cannot compile: it is told in one line, also of a network around them.

    TorchScript has no ``**kwargs`` and calls no operators that are registered in Python.
    """

    def __prepare_scriptable__(self):  # torch.jit.script calls it for every module first
        is_model = hasattr(self, "input_multiple")  # of the zoo; torch.export takes no detector as it is
        instead = "srzoo.export_program or srzoo.export_onnx" if is_model else "torch.export.export"
        raise TypeError(f"torch.jit.script cannot compile {type(self).__name__}: take {instead}")
