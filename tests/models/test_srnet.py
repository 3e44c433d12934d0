import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from srzoo import create_model
from srzoo.backbones import FeatureBackbone
from srzoo.models.srnet import SRNet

SMALL = {"backbone": "resnet18", "num_classes": 5, "channels": 64, "nodes": 8}


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return create_model("srnet", **SMALL)


@pytest.fixture(scope="module")
def lite0():
    torch.manual_seed(0)
    return create_model("srnet_lite0_camvid")


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (65, 129), (96, 32)])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ["small", "lite0"])
def test_logits_have_the_size_of_the_input_at_batch_size_1(name, training, size, request):
    model = request.getfixturevalue(name).train(training)
    logits, aux = model(torch.randn(1, 3, *size), return_aux=True)
    assert logits.shape == aux.shape == (1, model.num_classes, *size)
    assert logits.isfinite().all()
    assert aux.isfinite().all()


@pytest.mark.parametrize("backbone", ["vgg11", "hrnet_w18_small", "resnet18"])
def test_stride_32_trains_on_the_smallest_image_at_batch_size_1(backbone):
    model = create_model("srnet", backbone=backbone, num_classes=3, output_stride=32, channels=64, nodes=8).train()
    logits = model(torch.randn(1, 3, 33, 47))
    assert logits.shape == (1, 3, 33, 47)
    logits.sum().backward()


def test_every_parameter_gets_a_gradient(lite0):
    lite0.train()
    torch.nn.init.normal_(lite0.head.context.project.weight, std=0.1)  # at zero it would stop the gradient of W_t
    logits, aux = lite0(torch.randn(2, 3, 64, 64), return_aux=True)
    (logits.square().mean() + aux.square().mean()).backward()
    assert [name for name, p in lite0.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_resized_low_resolution_logits_are_the_full_logits(lite0):
    lite0.eval()
    x = torch.randn(1, 3, 61, 83)
    low, full = lite0(x, upsample=False), lite0(x)
    assert low.shape == (1, 11, 16, 24)  # stride 4 of 64x96
    torch.testing.assert_close(torch.nn.functional.interpolate(low, (61, 83), mode="bilinear"), full)
    torch.testing.assert_close(lite0.resize(low, (61, 83)), full, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("backbone", "divisor", "size"), [("hrnet_w18_small", 32, (64, 96)), ("resnet18", 8, (56, 72))]
)
def test_an_image_is_enlarged_to_a_multiple_and_the_logits_cover_it(backbone, divisor, size):
    """So a caller that resizes the low-resolution logits, as `Segmenter` does, gets the logits of the model."""
    model = create_model("srnet", backbone=backbone, num_classes=3, channels=32, nodes=4).eval()
    assert model.size_divisor == divisor
    x = torch.randn(1, 3, 50, 70)
    with torch.inference_mode():
        low, full = model(x, upsample=False), model(x)
        enlarged = model(torch.nn.functional.interpolate(x, size, mode="bilinear"), upsample=False)
    torch.testing.assert_close(low, enlarged)
    torch.testing.assert_close(full, torch.nn.functional.interpolate(low, (50, 70), mode="bilinear"))


def test_with_aligned_corners_the_image_is_not_enlarged():
    """As in the released models, which were trained on crops of 769 pixels."""
    model = create_model("srnet", **SMALL, align_corners=True).eval()
    assert model.size_divisor == 1 and model.align_corners
    low = torch.randn(1, 5, 4, 6)
    expected = torch.nn.functional.interpolate(low, (9, 11), mode="bilinear", align_corners=True)
    torch.testing.assert_close(model.resize(low, (9, 11)), expected, rtol=0, atol=0)


def test_any_height_and_width_where_the_backbone_needs_a_multiple_of_32():
    """One graph serves sizes that are enlarged and sizes that are not."""
    model = create_model("srnet", backbone="dla34", num_classes=3, channels=32, nodes=4).eval()
    assert model.size_divisor == 32
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(model, fullgraph=True, backend=counter, dynamic=True)
    sides = {axis: torch.export.Dim(f"side_{axis}", min=64, max=512) for axis in (2, 3)}
    exported = torch.export.export(model, (torch.randn(2, 3, 64, 99),), dynamic_shapes={"x": sides}).module()
    with torch.no_grad():
        for size in ((64, 96), (65, 97), (71, 130)):
            x = torch.randn(2, 3, *size)
            expected = model(x)
            torch.testing.assert_close(compiled(x), expected)
            torch.testing.assert_close(exported(x), expected)
    assert counter.frame_count == 1


@pytest.mark.parametrize(
    ("options", "strides", "kept"),
    [({}, (), [16, 32]), ({}, (8, 4), [4, 8, 16, 32]), ({"out_indices": (0, 3, 4)}, (2,), [2, 16, 32])],
)
def test_features_that_nothing_reads_are_not_kept(options, strides, kept):
    """timm keeps each feature until the last is computed. The logits are those of a network that keeps all."""
    whole = FeatureBackbone("test_resnet", options)
    model = SRNet(
        "test_resnet", 3, channels=16, context="none", decoder_strides=strides, backbone_options=options
    ).eval()
    model.backbone.body.load_state_dict(whole.body.state_dict())
    assert model.backbone.strides == kept
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        wanted, aux = model(x, return_aux=True)
        model.backbone, model.decoder_levels = whole.eval(), [whole.strides.index(stride) for stride in strides]
        found, whole_aux = model(x, return_aux=True)
    assert torch.equal(found, wanted) and torch.equal(whole_aux, aux)


def test_a_backbone_of_one_feature_is_refused():
    with pytest.raises(ValueError, match="'test_resnet' has one feature"):
        SRNet("test_resnet", 3, backbone_options={"out_indices": (4,)})


def test_context_none_builds_no_block():
    model = create_model("srnet", backbone="resnet18", num_classes=5, context="none")
    assert isinstance(model.head.context, torch.nn.Identity)


def test_an_unknown_context_module():
    with pytest.raises(ValueError, match="context.* 'nonlocal'.* sr, sr_released, nl, "):
        create_model("srnet", backbone="resnet18", num_classes=5, context="nonlocal")


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 1, 64, 64), (1, 3, 31, 64)])
def test_input_errors(small, shape):
    with pytest.raises(ValueError, match=r"\(N, 3, H, W\), got \((3|1, 1), 64, 64\)|32, got \(31, 64\)"):
        small(torch.zeros(shape))


def test_images_in_bytes_are_an_error(small):
    with pytest.raises(ValueError, match=r"got torch.uint8;.*model.config.transform.normalize"):
        small(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("name", "parameters", "macs"),
    [
        # By the paper's Table 3, at 768x768: dilated FCN 23.63 M / 241.05 G, two convolutions 11.80 M / 108.74 G.
        ("srnet_r50", 23.63e6 + 11.80e6, 241.05e9 + 108.74e9),
        ("srnet_r101", None, None),
    ],
)
def test_resnets_without_the_block_cost_what_the_paper_counts(name, parameters, macs):
    with torch.device("meta"):
        model = create_model(name, num_classes=19, context="none")
    assert model.backbone.body.feature_info.channels([0, 1, 2, 3, 4]) == [128, 256, 512, 1024, 2048]
    if parameters is None:
        return
    counted = sum(p.numel() for part in (model.backbone, model.head) for p in part.parameters())
    classifier = 512 * 19 * 96 * 96
    assert abs(counted / parameters - 1) < 0.01
    assert abs((model.cost((768, 768)) - classifier) / macs - 1) < 0.02


@pytest.mark.parametrize("training", [True, False])
def test_compiles_without_a_graph_break(small, training):
    small.train(training)
    for module in small.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    compiled = torch.compile(small, fullgraph=True, backend="eager", dynamic=True)
    for size in ((64, 96), (48, 80)):
        x = torch.randn(2, 3, *size)
        torch.testing.assert_close(compiled(x), small(x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["srnet_lite0", "fcn_lite0", "srnet_dfv2", "dfseg_v2"])
def test_one_class_is_refused(name):
    with pytest.raises(ValueError, match="num_classes=1: expected 2 "), torch.device("meta"):
        create_model(name, num_classes=1)


def test_sizes_are_rounded_up_without_negative_numbers():
    """ONNX rounds their quotients toward zero, so a file would take 200 pixels down to 192 rather than up to 208."""
    model = create_model("fcn_lite0", num_classes=3).eval()
    sides = {2: torch.export.Dim("h", min=64, max=2048), 3: torch.export.Dim("w", min=64, max=2048)}
    program = torch.export.export(model, (torch.rand(1, 3, 128, 160),), dynamic_shapes={"x": sides})
    names = [node.target.__name__ for node in program.graph.nodes if callable(node.target)]
    assert "floordiv" in names and "neg" not in names
