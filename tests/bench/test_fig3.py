import pytest


@pytest.fixture
def fig3(load_bench):
    pytest.importorskip("matplotlib")
    return load_bench("fig3")


def test_a_setting_without_a_row_was_not_trained(fig3):
    rows = [
        {"setting": setting, "variant": variant, "miou": miou}
        for setting, variant, miou in [
            ("paper", "sr nodes 4", "0.5"),
            ("paper", "sr nodes 4", "0.52"),
            ("decoder", "sr nodes 8", "0.6"),
            ("paper", "sr hadamard graph", "0.4"),
        ]
    ]
    four, eight, sixteen = (fig3.line(rows, "nodes", value) for value in (4, 8, 16))
    assert (four["seeds"], four["miou"], four["spread"]) == (2, 51.0, 2.0)
    assert (eight["seeds"], eight["miou"]) == (0, "not trained")
    assert sixteen["miou"] == fig3.line(rows, "reduction", 2)["miou"] == 40.0
    # W_t, W_p and W_R, then A_g and W_g.
    assert four["parameters"] == 3 * 512 * 256 + 4**2 + 64**2
