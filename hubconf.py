"""Entries for ``torch.hub``; nothing has to be installed but the dependencies.

torch.hub.load(REPO, "srnet_lite0_camvid", pretrained=True)
"""

dependencies = ["torch", "torchvision", "timm", "numpy", "PIL", "safetensors"]


def _create(name, pretrained, options):
    """Imports stay in here: torch.hub lists the entries by importing this file."""
    import sys
    from pathlib import Path

    root = Path(__file__).resolve().parent
    for folder in (str(root), str(root / "kernels")):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    from srzoo import create_model

    return create_model(name, pretrained=pretrained, **options)


def srnet_lite0(num_classes, pretrained=False, **options):
    """SRNet over EfficientNet-Lite0 at stride 16, with a light decoder to stride 4, for any number of classes.

    num_classes (int): classes of the logits
    pretrained (bool): no weights are published for this entry: True is an error that names those that have some
    options: context ("sr", "sr_released", "none"), pretrained_backbone (True or a file), those of srzoo.models.SRNet

    Maps (N, 3, H, W) normalised floats, H and W >= 32, to (N, num_classes, H, W) logits.
    """
    return _create("srnet_lite0", pretrained, {"num_classes": num_classes, **options})


def srnet_lite0_camvid(pretrained=False, **options):
    """SRNet over EfficientNet-Lite0 at stride 16, with a light decoder to stride 4, for the 11 classes of CamVid.

    pretrained (bool): load the weights trained on CamVid, which ship with the package
    options: num_classes, context ("sr", "sr_released", "none"), pretrained_backbone (True or a file), and those of
        srzoo.models.SRNet

    Maps (N, 3, H, W) normalised floats, H and W >= 32, to (N, 11, H, W) logits; model.config has the
    classes, the palette and the transform.
    """
    return _create("srnet_lite0_camvid", pretrained, options)


def srnet_lite0_cityscapes(pretrained=False, **options):
    """SRNet over EfficientNet-Lite0 at stride 16, with a light decoder to stride 4, for the 19 classes of Cityscapes.

    pretrained (bool): no weights are published for this entry: True is an error that names those that have some
    options: num_classes, context ("sr", "sr_released", "none"), pretrained_backbone (True or a file), and those of
        srzoo.models.SRNet

    Maps (N, 3, H, W) normalised floats, H and W >= 32, to (N, 19, H, W) logits; model.config has the
    classes, the palette and the transform.
    """
    return _create("srnet_lite0_cityscapes", pretrained, options)


def srnet_r50(num_classes, pretrained=False, **options):
    """SRNet over a dilated ResNet-50 with the deep stem, stride 8, for any number of classes.

    num_classes (int): classes of the logits
    pretrained (bool): no weights are published for this entry: True is an error that names those that have some
    options: context ("sr", "sr_released", "none"), pretrained_backbone (True or a file), those of srzoo.models.SRNet

    Maps (N, 3, H, W) normalised floats, H and W >= 32, to (N, num_classes, H, W) logits.
    """
    return _create("srnet_r50", pretrained, {"num_classes": num_classes, **options})


def srnet_r50_camvid(pretrained=False, **options):
    """SRNet over a dilated ResNet-50 with the deep stem, stride 8, for the 11 classes of CamVid.

    pretrained (bool): no weights are published for this entry: True is an error that names those that have some
    options: num_classes, context ("sr", "sr_released", "none"), pretrained_backbone (True or a file), and those of
        srzoo.models.SRNet

    Maps (N, 3, H, W) normalised floats, H and W >= 32, to (N, 11, H, W) logits; model.config has the
    classes, the palette and the transform.
    """
    return _create("srnet_r50_camvid", pretrained, options)


def srnet_r50_cityscapes(pretrained=False, **options):
    """SRNet over a dilated ResNet-50 with the deep stem, stride 8, for the 19 classes of Cityscapes.

    pretrained (bool): no weights are published for this entry: True is an error that names those that have some
    options: num_classes, context ("sr", "sr_released", "none"), pretrained_backbone (True or a file), and those of
        srzoo.models.SRNet

    Maps (N, 3, H, W) normalised floats, H and W >= 32, to (N, 19, H, W) logits; model.config has the
    classes, the palette and the transform.
    """
    return _create("srnet_r50_cityscapes", pretrained, options)


def srnet_r101(num_classes, pretrained=False, **options):
    """SRNet over a dilated ResNet-101 with the deep stem, stride 8, for any number of classes.

    num_classes (int): classes of the logits
    pretrained (bool): no weights are published for this entry: True is an error that names those that have some
    options: context ("sr", "sr_released", "none"), pretrained_backbone (True or a file), those of srzoo.models.SRNet

    Maps (N, 3, H, W) normalised floats, H and W >= 32, to (N, num_classes, H, W) logits.
    """
    return _create("srnet_r101", pretrained, {"num_classes": num_classes, **options})


def srnet_r101_camvid(pretrained=False, **options):
    """SRNet over a dilated ResNet-101 with the deep stem, stride 8, for the 11 classes of CamVid.

    pretrained (bool): no weights are published for this entry: True is an error that names those that have some
    options: num_classes, context ("sr", "sr_released", "none"), pretrained_backbone (True or a file), and those of
        srzoo.models.SRNet

    Maps (N, 3, H, W) normalised floats, H and W >= 32, to (N, 11, H, W) logits; model.config has the
    classes, the palette and the transform.
    """
    return _create("srnet_r101_camvid", pretrained, options)


def srnet_r101_cityscapes(pretrained=False, **options):
    """SRNet over a dilated ResNet-101 with the deep stem, stride 8, for the 19 classes of Cityscapes.

    pretrained (bool): no weights are published for this entry: True is an error that names those that have some
    options: num_classes, context ("sr", "sr_released", "none"), pretrained_backbone (True or a file), and those of
        srzoo.models.SRNet

    Maps (N, 3, H, W) normalised floats, H and W >= 32, to (N, 19, H, W) logits; model.config has the
    classes, the palette and the transform.
    """
    return _create("srnet_r101_cityscapes", pretrained, options)
