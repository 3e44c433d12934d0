"""Modules that ``torch.fx`` takes as one call, as it takes ``torch.nn``'s layers."""

from torch import fx, nn


def as_leaf(module: nn.Module, x: fx.Proxy) -> fx.Proxy:
    """The call of ``module`` in the graph that is being traced.

    For ``torch.fx.symbolic_trace`` and torchvision's ``create_feature_extractor``, which cannot trace a forward that
    depends on shapes, and know no leaves but those of ``torch.nn``.
    """
    return x.tracer.create_proxy("call_module", x.tracer.path_of_module(module), (x,), {})
