"""The checks that every operator shares."""

import pytest
import torch

from srzoo_kernels.checks import check_feature_map


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(2, 3, 4), r"features.*\(N, 3, H, W\).*\(2, 3, 4\)"),
        (torch.zeros(2, 4, 5, 6), r"features.*\(N, 3, H, W\).*\(2, 4, 5, 6\)"),
        (torch.zeros(2, 3, 5, 0), "features.*height 5, width 0"),
        (torch.zeros(2, 3, 5, 6, dtype=torch.uint8), r"uint8.*features\.float\(\)"),
    ],
)
def test_another_number_of_channels_is_refused(x, message):
    check_feature_map(torch.zeros(2, 3, 5, 6), "features", channels=3)
    with pytest.raises(ValueError, match=message):
        check_feature_map(x, "features", channels=3)
