"""The checks that every operator shares."""

import pytest
import torch

import srzoo_kernels
from srzoo_kernels import upsample_argmax, upsample_bilinear
from srzoo_kernels.checks import check_feature_map


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(2, 3, 4), r"features.*\(N, 3, H, W\).*\(2, 3, 4\)"),
        (torch.zeros(2, 4, 5, 6), r"features.*\(N, 3, H, W\).*\(2, 4, 5, 6\)"),
        (torch.zeros(2, 3, 5, 0), "features.*height 5, width 0"),
        (torch.zeros(2, 3, 5, 6, dtype=torch.uint8), r"uint8.*features\.float\(\)"),
        (torch.zeros(2, 3, 5, 6, dtype=torch.float8_e5m2), r"float8_e5m2.*features\.float\(\)"),
        (torch.zeros(2, 3, 5, 6).to_sparse(), "features.*sparse_coo"),
    ],
)
def test_another_number_of_channels_is_refused(x, message):
    check_feature_map(torch.zeros(2, 3, 5, 6), "features", channels=3)
    with pytest.raises(ValueError, match=message):
        check_feature_map(x, "features", channels=3)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("upsample_argmax", {"size": 5}, r"\(H, W\).*got 5"),
        ("upsample_argmax", {"size": ("a", "b")}, r"\(H, W\).*got \('a', 'b'\)"),
        ("upsample_argmax", {"size": (2.5, 3)}, r"\(H, W\).*got \(2.5, 3\)"),
        ("upsample_bilinear", {"size": 5}, r"\(H, W\).*got 5"),
        ("upsample_cross_entropy", {"ignore_index": 2**70}, f"ignore_index .*{2**70}"),
        ("upsample_cross_entropy", {"ohem": 0.5}, "ohem .*got 0.5"),
        ("upsample_cross_entropy", {"ohem": (0.5, 1.5)}, r"ohem .*got \(0.5, 1.5\)"),
        ("upsample_cross_entropy", {"label_smoothing": "x"}, "label_smoothing .*got 'x'"),
        ("depthwise_conv2d", {"padding": (1, 1)}, r"padding .*integer, got \(1, 1\)"),
        ("depthwise_conv2d", {"stride": "x"}, "stride .*integer, got 'x'"),
        ("paste_masks", {"padding": 1.5}, "padding .*integer, got 1.5"),
    ],
)
def test_options_of_another_type_are_refused(name, options, message):
    logits, boxes = torch.zeros(1, 3, 4, 4), torch.zeros(1, 4)
    operands = {
        "upsample_argmax": (logits,),
        "upsample_bilinear": (logits,),
        "upsample_cross_entropy": (logits, torch.zeros(1, 4, 4, dtype=torch.int64)),
        "depthwise_conv2d": (logits, torch.zeros(3, 1, 3, 3)),
        "paste_masks": (torch.zeros(1, 2, 2), boxes, boxes.long()),
    }
    with pytest.raises(ValueError, match=message):
        getattr(srzoo_kernels, name)(*operands[name], **options)


@pytest.mark.parametrize("operator", [upsample_argmax, upsample_bilinear])
@pytest.mark.parametrize(
    ("shape", "size", "message"),
    [
        ((3, 4, 4), (8, 8), r"\(N, C, H, W\).*\(3, 4, 4\)"),
        ((1, 3, 0, 4), (8, 8), "logits.*height 0, width 4"),
        ((1, 0, 4, 4), (8, 8), r"classes.*\(1, 0, 4, 4\)"),
        ((1, 3, 4, 4), (0, 8), r"size.*\(1, 1\).*\(0, 8\)"),
        ((1, 3, 4, 4), (8, -1), r"size.*\(1, 1\).*\(8, -1\)"),
        ((1, 3, 4, 4), (8,), r"size.*\(H, W\).*\(8,\)"),
    ],
)
def test_logits_and_sizes_that_do_not_fit_are_refused(shape, size, message, operator):
    with pytest.raises(ValueError, match=message):
        operator(torch.zeros(shape), size)


@pytest.mark.parametrize("operator", [upsample_argmax, upsample_bilinear])
def test_logits_of_integers_are_refused(operator):
    with pytest.raises(ValueError, match="floating logits.*int64"):
        operator(torch.zeros(1, 3, 4, 4, dtype=torch.int64), (8, 8))
