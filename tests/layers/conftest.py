"""Shared fixtures for modules with a ``forward_direct``."""

import pytest
import torch


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
