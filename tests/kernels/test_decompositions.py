"""Programs of the operators, for where srzoo is not installed."""

import pytest
import torch

from srzoo.layers import SqueezeReasoning
from srzoo_kernels import decompositions


@pytest.mark.parametrize("with_gradient", [True, False])
@pytest.mark.parametrize("options", [{}, {"squeeze": "average"}, {"reasoning": "attention"}], ids=str)
def test_no_operator_is_left_of_the_block(with_gradient, options, monkeypatch):
    monkeypatch.setattr("srzoo.layers.squeeze_reasoning._FEW", 0)
    block, x = SqueezeReasoning(32, nodes=4, **options).eval(), torch.randn(2, 32, 5, 7)
    torch.nn.init.normal_(block.project.weight, std=0.2)
    with torch.set_grad_enabled(with_gradient):
        program = torch.export.export(block, (x,))
        assert "srzoo." in str(program.graph)
        plain = program.run_decompositions(decompositions())
    assert "srzoo." not in str(plain.graph)
    with torch.no_grad():
        torch.testing.assert_close(plain.module()(x), block(x), rtol=1e-4, atol=1e-5)
