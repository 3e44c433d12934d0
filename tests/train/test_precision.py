import pytest
import torch

from srzoo.train.precision import fast_precision


@pytest.mark.parametrize(("matrix_units", "precision"), [(True, "bf16"), (False, "no")])
def test_on_a_cpu_by_its_matrix_units(monkeypatch, matrix_units, precision):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": matrix_units}, raising=False)
    assert fast_precision() == precision


def test_before_pytorch_says_what_a_cpu_has(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert fast_precision() == "no"


@pytest.mark.parametrize(("supported", "precision"), [(True, "bf16"), (False, "fp16")])
def test_on_a_gpu_by_its_age(monkeypatch, supported, precision):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported)
    assert fast_precision() == precision
