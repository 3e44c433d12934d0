import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models.detection.roi_heads import paste_masks_in_image

import srzoo
from srzoo.tasks.instance import inference
from srzoo.tasks.instance.inference import detect, pasted
from srzoo.tasks.instance.view import View
from srzoo.tasks.task import get_task, make_view


def picture(width, height, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("size", [(150, 100), (97, 211), (640, 480)])
def test_boxes_are_in_pixels_of_the_image(detector, size):
    """The network's own boxes, stretched from the resized content, not from its padding."""
    model, image = detector(), picture(*size)
    transform = model.config.transform
    height, width = transform.content_size(size[1], size[0])
    with torch.no_grad():
        found = detect(model, image, 0.3, 7)
        (own,) = model(transform(image), [(height, width)], score=0.3)
    assert len(found["boxes"]) == min(7, len(own["boxes"])) > 2
    factors = torch.tensor([size[0] / width, size[1] / height] * 2)
    torch.testing.assert_close(found["boxes"], own["boxes"][:7] * factors)
    assert found["boxes"][:, 2].max() <= size[0] + 1e-3 and found["boxes"][:, 3].max() <= size[1] + 1e-3
    assert found["scores"].min() >= 0.3


def test_masks_are_torchvisions(detector):
    """Pasted in windows, packed in bits, and again the pixels that torchvision's dense stack has."""
    model, image = detector(), picture(201, 133)
    result = srzoo.Segmenter(model, "cpu", score=0.3)(image)
    with torch.no_grad():
        found = detect(srzoo.fuse(model), image, 0.3, 100)
    values = paste_masks_in_image(found["masks"][:, None], found["boxes"], (133, 201))[:, 0]
    assert len(result) == len(values) > 3
    for mask, value in zip(result.masks, values.numpy()):
        assert (mask == (value >= 0.5))[np.abs(value - 0.5) > 1e-5].all()
    assert sum(mask.sum() for mask in result.masks) > 0


def test_masks_are_pasted_some_at_a_time(detector, monkeypatch):
    model, image = detector(aligned=True), picture(201, 133)
    with torch.no_grad():
        found = detect(model, image, 0.3, 100)
    whole = list(pasted(found, (133, 201), model.aligned))
    monkeypatch.setattr(inference, "_PASTED", 3000)
    parts = list(pasted(found, (133, 201), model.aligned))
    assert len(whole) == 1 < len(parts)
    assert torch.equal(torch.cat([pixels for pixels, _ in parts]), whole[0][0])
    assert torch.equal(torch.cat([windows for _, windows in parts]), whole[0][1])


def test_an_image_alone_and_beside_a_larger_one(detector):
    """Each image passes the network on its own, so that a receipt does not depend on what else is evaluated."""
    segment = srzoo.Segmenter(detector(), "cpu", score=0.3)
    small, large = picture(90, 70), picture(400, 300, 1)
    alone = segment(small)
    beside, _ = segment([small, large])
    _, again = segment([large, small])
    for other in (beside, again):
        assert (alone.boxes == other.boxes).all() and (alone.scores == other.scores).all()
        assert all((a == b).all() for a, b in zip(alone.masks, other.masks, strict=True))


def test_view_limits_score_and_number(detector):
    model, image = detector(), picture(150, 100)
    every = srzoo.Segmenter(model, "cpu", score=0.05)(image)
    some = srzoo.Segmenter(model, "cpu", score=0.05, detections=3)(image)
    none = srzoo.Segmenter(model, "cpu", score=1)(image)
    assert len(every) > 3 == len(some)
    assert (some.scores == every.scores[:3]).all() and (np.diff(every.scores) <= 0).all()
    assert len(none) == 0 and none.overlay().size == (150, 100)
    with pytest.raises(ValueError, match="score.* 1.5"):
        View(score=1.5)
    with pytest.raises(ValueError, match="detections.* 0"):
        View(detections=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("network", ["mask_rcnn", "cascade_mask_rcnn", "panoptic_fpn"])
def test_half_models_predict(detector, dtype, network):
    model = detector(network)
    task = get_task(model.task)
    with torch.inference_mode():
        result = task.predict(model.to(dtype), picture(150, 100), make_view(task, {"score": 0.3}))
    assert len(result) > 0
    if network != "panoptic_fpn":
        assert result.boxes.dtype == result.scores.dtype == np.float32


def test_fused_model_has_the_same_detections(detector):
    model, image = detector(), picture(150, 100)
    with torch.no_grad():
        plain, fused = (detect(each, image, 0.3, 100) for each in (model, srzoo.fuse(model)))
    assert len(plain["boxes"]) == len(fused["boxes"]) > 3
    torch.testing.assert_close(plain["boxes"], fused["boxes"], atol=0.05, rtol=0)
    torch.testing.assert_close(plain["scores"], fused["scores"], atol=1e-3, rtol=0)


@pytest.mark.slow
def test_100_detections_in_8000x4000_within_a_gigabyte(run_python, tmp_path, detector):
    """As many float masks of the image would take 13 GB. Half of them cover a fifth of the image or more."""
    model = detector()
    torch.nn.init.constant_(model.roi_heads.mask_predictor.mask_fcn_logits.bias, 30.0)  # full masks, the worst case
    srzoo.save_model(model, tmp_path / "m.safetensors")
    Image.linear_gradient("L").resize((8000, 4000)).convert("RGB").save(tmp_path / "large.jpg")
    (tmp_path / "go.py").write_text(
        "import sys, torch, srzoo\n"
        "torch.set_num_threads(1)\n"
        "segment = srzoo.Segmenter('m.safetensors', 'cpu', score=0.0)\n"
        "result = segment('large.jpg')\n"
        "areas = result.masks.areas()\n"
        "peak = int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]) / 1024\n"
        "result.overlay()\n"
        "later = int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]) / 1024\n"
        "print(len(result), sorted(areas.tolist())[50], peak, later)\n"
    )
    done = run_python("go.py")
    assert done.returncode == 0, done.stderr
    count, median, peak, later = map(float, done.stdout.split())
    assert count == 100
    assert median > 1e6
    assert peak < 1024
    assert later < 1280  # with the picture twice
