"""Shared fixtures for modules with a ``forward_direct``."""

import pytest
import torch


@pytest.fixture(autouse=True)
def fresh_compiler():
    """Tests of one process share the limit of recompilations, which all of this folder's together pass."""
    yield
    torch.compiler.reset()


@pytest.fixture
def both_forms():
    """Return the results and all gradients of a module's ``forward`` and ``forward_direct``."""

    def run(module: torch.nn.Module, x: torch.Tensor) -> list[tuple[torch.Tensor, ...]]:
        seed = torch.randn_like(x)
        results = []
        for form in (module.forward, module.forward_direct):
            y = form(x)
            results.append((y, *torch.autograd.grad(y, (x, *module.parameters()), seed)))
        return results

    return run


@pytest.fixture(params=["by size", "matrices"])
def form(request, monkeypatch):
    """The form that `SqueezeReasoning` takes: the one for the map's size, or for any size that of many pixels."""
    if request.param == "matrices":
        monkeypatch.setattr("srzoo.layers.squeeze_reasoning._FEW", 0)
