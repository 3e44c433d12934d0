"""The contract of the architectures that CI has time for; bench/contract.py checks all of them."""

import pytest

FAST = ("srnet_r50", "srnet_lite0", "srnet_dfv2", "fcn_r50", "dfseg_v1")
# One of each kind of backbone; each takes minutes. The others have the same parts, and are in the table.
COMPILED = ("srnet_lite0", "srnet_dfv2", "fcn_wrn38")


@pytest.fixture
def contract(load_bench):
    return load_bench("contract")


@pytest.mark.parametrize("name", FAST)
def test_a_model_keeps_its_contract(contract, name):
    model, _ = contract.model_to_check(name)
    for run in contract.CHECKS.values():
        run(model)


@pytest.mark.parametrize("training", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_narrow_srnet_compiles_once_for_any_size(contract, training):
    """The slow test and the table have the whole models."""
    model, extent = contract.model_to_check("srnet_r50")
    assert extent == "narrow copy"
    contract.compiled(model, training)


# The table has the training of all of them.
@pytest.mark.slow
@pytest.mark.parametrize(("name", "training"), [*((name, False) for name in COMPILED), ("srnet_lite0", True)])
def test_an_architecture_compiles_once_for_any_size(contract, name, training):
    contract.compiled(contract.model_to_check(name)[0], training)


def test_a_difference_is_an_error(contract):
    with pytest.raises(AssertionError, match="exported .*1.00e-03.* 1e-04"):
        contract.hold("exported", 1e-3)
    with pytest.raises(AssertionError):
        contract.hold("exported", float("nan"))
    model, _ = contract.model_to_check("dfseg_v1")
    model.classifier.weight.data[0, 0] = float("inf")
    with pytest.raises(AssertionError):
        contract.eager(model)


def test_the_table_has_every_architecture_with_its_counts(contract):
    rows = {row["architecture"]: row for row in contract.read_csv(contract.CSV)}
    assert sorted(rows) == sorted(contract.architectures())
    for name in ("srnet_lite0", "dfseg_v2"):
        assert (int(rows[name]["parameters"]), int(rows[name]["multiply_adds_at_512x512"])) == contract.counts(name)
