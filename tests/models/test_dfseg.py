import pytest
import torch
from torch import nn

from srzoo import Segmenter, create_model


@pytest.fixture(scope="module", params=["psp", "sr"])
def model(request):
    torch.manual_seed(0)
    return create_model("dfseg_v1", num_classes=5, context=request.param)


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (96, 129)])
@pytest.mark.parametrize("training", [True, False])
def test_logits_have_the_size_of_the_input_at_batch_size_1(model, training, size):
    model.train(training)
    logits, aux = model(torch.randn(1, 3, *size), return_aux=True)
    assert logits.shape == aux.shape == (1, 5, *size)
    assert logits.isfinite().all()
    assert aux.isfinite().all()


def test_every_parameter_gets_a_gradient(model):
    model.train()
    if model.config.options["context"] == "sr":
        nn.init.normal_(model.head.context.project.weight, std=0.1)  # at zero it would stop the gradient of W_t
    logits, aux = model(torch.randn(2, 3, 64, 64), return_aux=True)
    (logits.square().mean() + aux.square().mean()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_logits_have_the_stride_of_the_finest_level():
    for name, stride in (("dfseg_v1", 16), ("dfseg_v2", 8)):
        with torch.device("meta"):
            model = create_model(name, num_classes=5).eval()
            assert model(torch.empty(1, 3, 96, 160), upsample=False).shape == (1, 5, 96 // stride, 160 // stride)


@pytest.mark.parametrize("context", ["sr", "sr_released", "nl", "aspp", "psp", "none"])
def test_any_context_module(context):
    with torch.device("meta"):
        model = create_model("dfseg_v2", num_classes=5, context=context).eval()
        assert model(torch.empty(1, 3, 65, 97)).shape == (1, 5, 65, 97)


def test_any_timm_backbone_and_levels():
    with torch.device("meta"):
        model = create_model("dfseg_v2", num_classes=5, backbone="resnet18", levels=(2, 3, 4)).eval()
        assert model.backbone.channels == [128, 256, 512]
        assert model(torch.empty(1, 3, 65, 97)).shape == (1, 5, 65, 97)


@pytest.mark.parametrize(
    ("name", "millions"),
    [("dfseg_v1", 9.37), ("dfseg_v2", 18.83), ("srnet_dfv2", 18.87)],  # Table 6
)
def test_parameter_counts_are_the_paper_s(name, millions):
    with torch.device("meta"):
        model = create_model(f"{name}_cityscapes")
    counted = sum(p.numel() for p in model.parameters()) / 1e6
    assert counted == pytest.approx(millions, rel=1e-3)


def test_segments_an_image(examples):
    torch.manual_seed(0)
    result = Segmenter(create_model("srnet_dfv2_camvid"))(examples / "street.png")
    assert result.labels.shape == (360, 480)
    assert result.probabilities().shape == (11, 360, 480)
