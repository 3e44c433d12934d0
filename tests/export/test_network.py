"""What can be exported of a model."""

import pytest

import srzoo
from srzoo.export.network import Form


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"images": "int8"}, "images must be 'float' or 'uint8', got 'int8'"),
        ({"output": "masks"}, "output must be 'logits' or 'labels', got 'masks'"),
        ({"size": 64}, r"size must be \(H, W\).*got 64"),
        ({"size": "dynamic"}, "None for any size, got 'dynamic'"),
        ({"size": (64.5, 64)}, r"size must be \(H, W\).*64\.5"),
        ({"size": (16, 64)}, "at least 32x32 pixels, got 16x64"),
        ({"size": (64, 10**9)}, r"64,000,000,000 pixels together, at most [\d,]+ can .*--size dynamic"),
        ({"size": (1024, 2048), "batch": 1000}, r"2,097,152,000 pixels together.*--batch dynamic"),
        ({"batch": 10**12}, r"1,024,000,000,000,000 pixels together.*--batch dynamic"),
        ({"batch": 0}, "batch must be a whole number from 1 on, .*got 0"),
        ({"batch": True}, "batch must be .* got True"),
        ({"half": "no"}, "half must be True or False, got 'no'"),
    ],
)
def test_bad_forms_are_refused(form, message):
    with pytest.raises(ValueError, match=message):
        Form(**form)


@pytest.mark.parametrize(
    ("export", "options", "message"),
    [
        (
            srzoo.export_onnx,
            {"sizes": (64, 64)},
            "no option 'sizes'.*calibrate, .*; did you mean 'size'",
        ),
        (srzoo.export_program, {"calibrate": []}, "export_program has no option 'calibrate'.*it takes size, batch, "),
        (srzoo.export_package, {"input": "uint8"}, "no option 'input'.*it takes device, size, .*mean 'images'"),
    ],
)
def test_unknown_options_are_told_with_those_of_the_format(tmp_path, export, options, message):
    with pytest.raises(ValueError, match=message):
        export(srzoo.create_model("srnet_lite0", num_classes=2), tmp_path / "model", **options)
    assert not list(tmp_path.iterdir())


def test_good_forms():
    assert Form().size is None and Form(size=(1024, 2048), batch=8).batch == 8 and Form(size=[64, 96], batch=None)
