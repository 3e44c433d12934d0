import copy
import dataclasses
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import srzoo
from srzoo import Segmenter, images, predict
from srzoo.images import ImageError
from srzoo.labels import IGNORE
from srzoo.models import replay
from srzoo.models.replay import Replay
from srzoo.tasks.semantic import result as results
from srzoo.tasks.semantic.metrics import ConfusionMatrix

NAMES = ("street", "crossing", "cyclist")


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter("srnet_lite0_camvid", device="cpu")


def test_accuracy_on_real_images(segmenter, examples):
    """With the published weights; an untrained model or shifted labels are far below."""
    matrix = ConfusionMatrix(11)
    for name in NAMES:
        ids = np.asarray(Image.open(examples / "annotations" / f"{name}.png"))
        labels = segmenter(examples / f"{name}.png").labels
        matrix.update(torch.from_numpy(labels), torch.from_numpy(np.where(ids == 11, IGNORE, ids)))
    assert matrix.pixel_accuracy() > 0.9
    assert matrix.mean_iou() > 0.65


def test_result_has_the_size_of_the_image(segmenter, examples):
    image = Image.open(examples / "street.png").convert("RGB").resize((431, 287))
    result = segmenter(image)
    assert result.labels.shape == (287, 431)
    assert result.labels.dtype == np.uint8
    assert result.overlay().size == result.label_image().size == (431, 287)
    probabilities = result.probabilities()
    assert probabilities.shape == (11, 287, 431)
    np.testing.assert_allclose(probabilities.sum(0), 1, atol=1e-5)
    top_two = np.sort(probabilities, 0)[-2:]
    clear = top_two[1] - top_two[0] > 1e-4
    assert (probabilities.argmax(0) == result.labels)[clear].all()
    assert clear.mean() > 0.99


def test_shares_add_up_and_are_sorted(segmenter, examples):
    shares = segmenter(examples / "street.png").shares()
    assert sum(shares.values()) == pytest.approx(1)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert {"road", "building", "tree", "car"} <= set(shares)


def test_shares_are_of_all_labels_however_many_are_counted_at_a_time(segmenter, examples, monkeypatch):
    shares = (found := segmenter(examples / "street.png")).shares()
    monkeypatch.setattr(results, "_COUNTED", 1000)
    assert found.shares() == shares


def test_a_brief_result_has_no_probabilities(segmenter, examples):
    brief, (whole,) = segmenter(examples / "street.png", brief=True), segmenter([examples / "street.png"])
    assert (brief.labels == whole.labels).all()
    with pytest.raises(ValueError, match="brief=True"):
        brief.probabilities()


def test_every_kind_of_input_has_the_same_result(segmenter, examples):
    path = examples / "crossing.png"
    array = np.array(Image.open(path).convert("RGB"))
    expected = segmenter(path).labels
    for source in (str(path), Image.open(path), array, array / 255.0, torch.from_numpy(array).permute(2, 0, 1)):
        assert (segmenter(source).labels == expected).all()
    results = segmenter([path, array])
    assert [(r.labels == expected).all() for r in results] == [True, True]


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3, 2), (3000, 7)])
def test_extreme_sizes(segmenter, size):
    assert segmenter(Image.new("RGB", size, "gray")).labels.shape == size[::-1]


def test_model_with_300_classes(examples):
    model = srzoo.create_model("srnet_lite0_camvid", num_classes=300)
    result = Segmenter(model)(examples / "street.png")
    assert result.labels.dtype == np.int64
    assert result.label_image().mode.startswith("I;16")


def test_tiles_find_small_objects_in_a_large_image(examples):
    """A model with a small input size misses the cyclist in the reduced image."""
    model = srzoo.create_model("srnet_lite0_camvid", pretrained=True)
    model.reconfigure(transform=dataclasses.replace(model.config.transform, short_side=64))
    bicyclist = np.asarray(Image.open(examples / "annotations" / "cyclist.png")) == 10
    reduced = Segmenter(model, "cpu")(examples / "cyclist.png").labels
    with pytest.warns(UserWarning, match=r"5\.6 times .* 64 "):
        labels = [reduced, Segmenter(model, "cpu", 256)(examples / "cyclist.png").labels]
    reduced, tiled = (((ids == 10) & bicyclist).sum() / ((ids == 10) | bicyclist).sum() for ids in labels)
    assert tiled > reduced + 0.1


def test_notebook_picture(segmenter, examples):
    assert segmenter(examples / "street.png")._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("srnet_lite0_camvid", "cuda:99"), ValueError, "'cuda:99'.*'cpu'"),
        (("srnet_lite0_camvid", "mps"), ValueError, "^.{,200}$"),
        (("srnet_lite0_camvid", "toaster"), ValueError, "'toaster'.*'cpu'"),
        (("gone.safetensors",), FileNotFoundError, r"gone\.safetensors"),
        (("srnet_lite0_camvit",), ValueError, "'srnet_lite0_camvit'.*'srnet_lite0_camvid'"),
        ((torch.nn.Identity(),), ValueError, "create_model.*Identity"),
        (("srnet_lite0_camvid", "cpu", 500), ValueError, "tile=500.* 16"),
        (("srnet_lite0_camvid", "cpu", "wide"), ValueError, "tile .*whole number.*'wide'"),
    ],
)
def test_construction_errors(arguments, error, message):
    with pytest.raises(error, match=message):
        Segmenter(*arguments)


@pytest.fixture(scope="module")
def small():
    """A network of a few channels, for tests of what surrounds it."""
    network = {"backbone": "test_efficientnet", "num_classes": 5, "channels": 32, "output_stride": 16}
    return srzoo.create_model("srnet", **network).eval()


def test_tiles_at_the_scale_of_the_model(small, examples):
    """A panorama is not reduced below the model's short side, and not enlarged to its own pixels."""
    model = copy.deepcopy(small)
    model.reconfigure(transform=dataclasses.replace(model.config.transform, short_side=64, max_pixels=64 * 128))
    image = Image.open(examples / "street.png").convert("RGB").resize((800, 160))
    seen = []
    segmenter = Segmenter(model, "cpu", 128, tile_scale="model")
    segmenter.model.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[2:])))
    assert segmenter(image).labels.shape == (160, 800)
    assert {height for height, _ in seen} == {64} and len(seen) >= 2


def test_files_beyond_the_limit_of_pillow_need_tiles(small, examples, tmp_path, monkeypatch):
    """With the limits lowered: Pillow's own, and the one for the memory."""
    path, size = tmp_path / "large.png", (896, 592)
    Image.open(examples / "street.png").resize(size).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200_000)
    monkeypatch.setattr(images, "MAX_PIXELS", 400_000)
    with pytest.raises(ImageError, match=r"large\.png: .*400,000 pixels.*--tile 1024"):
        Segmenter(small, "cpu")(path)
    tiled = Segmenter(small, "cpu", 256)
    assert tiled(path).labels.shape == size[::-1]
    assert Image.MAX_IMAGE_PIXELS == 200_000
    monkeypatch.setattr(tiled, "_max_pixels", 500_000)
    with pytest.raises(ImageError, match=r"500,000 pixels, the limit; resize it first$"):
        tiled(path)


def test_a_value_with_as_many_dimensions_as_a_batch(segmenter):
    class Other:
        ndim = 4

    with pytest.raises(srzoo.images.ImageError, match="got Other"):
        segmenter(Other())


def test_batches_and_streams(examples):
    """Images of one size run together; order, errors and memory are those of single images."""
    model = srzoo.create_model("srnet_lite0_camvid", pretrained=True)
    model.reconfigure(transform=dataclasses.replace(model.config.transform, short_side=64))
    segmenter = Segmenter(model, "cpu")
    pictures = [Image.open(examples / f"{name}.png").convert("RGB").resize((120, 90)) for name in NAMES]
    pictures.insert(1, pictures[0].resize((90, 120)))
    single = [segmenter(picture) for picture in pictures]
    sizes = []
    handle = segmenter.model.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    found = segmenter(pictures, batch=4)
    handle.remove()
    assert sizes == [3, 1]
    for one, other in zip(single, found, strict=True):
        assert one.labels.shape == other.labels.shape and (one.labels == other.labels).mean() > 0.999
        np.testing.assert_allclose(one.probabilities(), other.probabilities(), atol=1e-3)
        (logits,) = other._passes
        assert logits.untyped_storage().nbytes() == logits.numel() * 4
    batch = torch.stack([torch.from_numpy(np.array(pictures[i])).permute(2, 0, 1) for i in (0, 2)])
    for i, result in zip((0, 2), segmenter(batch, batch=2), strict=True):
        assert (result.labels == single[i].labels).mean() > 0.999
    (alone,) = segmenter(batch[:1])
    assert (alone.labels == single[0].labels).all()

    read = []
    stream = segmenter.stream((read.append(i) or picture for i, picture in enumerate(pictures)), batch=2)
    assert read == [] and next(stream).image.size == (120, 90) and read == [0, 1]
    stream = segmenter.stream([pictures[0], "gone.png", pictures[2]], batch=8)
    assert (next(stream).labels == single[0].labels).all()
    with pytest.raises(ImageError, match=r"gone\.png"):
        next(stream)
    assert len(list(segmenter.stream(pictures, batch=np.int64(2)))) == len(pictures)
    for wrong in (0, True, 1.5):
        with pytest.raises(ValueError, match=f"batch .* 1, got {wrong}"):
            segmenter.stream([], batch=wrong)


@pytest.mark.parametrize(
    "image", ["street.png", Path("street.png"), b"png", Image.new("RGB", (9, 9)), torch.rand(3, 64, 64), 5, None]
)
def test_a_stream_of_a_single_image_is_refused_at_once(segmenter, image):
    with pytest.raises(ValueError, match=rf"one {type(image).__name__}; pass \[image\]"):
        segmenter.stream(image)


def test_normalized_images_are_refused(segmenter):
    with pytest.raises(ImageError, match=r"0..1, got -2 to 2; .*normalization"):
        segmenter(torch.full((3, 40, 40), 2.0).index_fill(0, torch.tensor([1]), -2.0))


def test_what_a_segmenter_says_of_itself(segmenter):
    assert repr(segmenter) == "Segmenter(srnet_lite0_camvid, semantic, 11 classes, on cpu)"
    assert segmenter.classes[3] == "road" and len(segmenter.palette) == 11
    assert len(repr(srzoo.model_info("srnet_lite0_camvid"))) < 150


@pytest.mark.parametrize("device", [None, 1.5, "gpu", []])
def test_what_is_no_device_is_told_in_one_line(device):
    with pytest.raises(ValueError, match="device") as caught:
        Segmenter(device=device)
    assert "\n" not in str(caught.value)


def test_a_device_on_which_it_does_not_run_is_refused_at_once():
    with pytest.raises(ValueError, match="'meta'.*'cpu'"):
        Segmenter("srnet_lite0_camvid", "meta")
    with pytest.raises(ValueError, match="'hpu'.*'cpu'"):
        Segmenter("srnet_lite0_camvid", "hpu")  # PyTorch raises an ImportError for it
    with pytest.raises(ValueError, match=r"device.*'auto'.*1\.5"):
        Segmenter("srnet_lite0_camvid", 1.5)


def test_calls_are_independent(segmenter, examples):
    first = segmenter(examples / "street.png").labels
    segmenter(examples / "cyclist.png")
    assert (segmenter(examples / "street.png").labels == first).all()


@pytest.mark.parametrize(("dtype", "tile"), [(torch.float16, None), (torch.bfloat16, 128), (torch.float64, None)])
def test_models_of_other_precisions(dtype, tile, examples):
    model = srzoo.create_model("srnet_lite0_camvid", pretrained=True)
    model.reconfigure(transform=dataclasses.replace(model.config.transform, short_side=128))
    image = Image.open(examples / "street.png").resize((160, 128))
    expected = Segmenter(model, "cpu", tile)(image)
    found = Segmenter(model.to(dtype), "cpu", tile)(image)
    assert (found.labels == expected.labels).mean() > 0.99
    assert found.probabilities().dtype == np.float32
    np.testing.assert_allclose(found.probabilities().sum(0), 1, atol=1e-5)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_precision_of_choice(precision, examples):
    model = srzoo.create_model("srnet_lite0_camvid", pretrained=True)
    model.reconfigure(transform=dataclasses.replace(model.config.transform, short_side=128))
    image = Image.open(examples / "street.png").resize((160, 128))
    with warnings.catch_warnings(record=True) as warned:
        half = Segmenter(model, "cpu", precision=precision)
    assert [str(each.message).startswith("float16") for each in warned] == [True] * (precision == "float16")
    assert {each.dtype for each in half.model.parameters()} == {getattr(torch, precision)}
    assert {each.dtype for each in model.parameters()} == {torch.float32}
    assert (half(image).labels == Segmenter(model, "cpu")(image).labels).mean() > 0.99
    again = Segmenter(model.double(), "cpu", precision="float32")
    assert (again(image).labels == Segmenter(model.float(), "cpu")(image).labels).all()


@pytest.mark.parametrize(
    ("task", "capability", "given", "expected"),
    [
        ("semantic", (9, 0), torch.float32, torch.float16),
        ("semantic", (6, 1), torch.float32, None),
        ("semantic", (9, 0), torch.bfloat16, None),
        ("panoptic", (9, 0), torch.float32, None),
    ],
)
def test_automatic_precision_on_a_gpu(task, capability, given, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    model = torch.nn.Linear(2, 2).to(given)
    model.task = task
    assert predict._dtype_on(torch.device("cuda"), model) == expected
    assert predict._dtype_on(torch.device("cpu"), model) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"precision": "half"}, "'half'.*float16"),
        ({"precision": 16}, "16.*float16"),
        ({"graph": True}, "graph=True .*'cpu'"),
        ({"graph": "no"}, "graph.*'no'"),
    ],
)
def test_invalid_ways_to_run(arguments, message):
    with pytest.raises(ValueError, match=message):
        Segmenter("srnet_lite0_camvid", "cpu", **arguments)


def test_a_network_in_graphs_segments_the_same(monkeypatch, examples):
    """On the CPU, with captures that run the call again."""

    def record(call, device):
        result = call()
        return lambda: result.copy_(call()), result

    monkeypatch.setattr(replay, "record", record)
    model = srzoo.create_model("srnet_lite0_camvid", pretrained=True)
    model.reconfigure(transform=dataclasses.replace(model.config.transform, short_side=128))
    segmenter, expected = (Segmenter(model, "cpu", flip=True) for _ in range(2))
    segmenter._replay = Replay(segmenter.model)
    pictures = [Image.open(examples / f"{name}.png").resize((96, 128)) for name in ("street", "cyclist", "street")]
    for batch in (1, 1, 3):
        for found, own in zip(segmenter(pictures, batch=batch), expected(pictures, batch=batch), strict=True):
            assert found == own
    assert any(segmenter._replay._graphs.values())
    copy.deepcopy(segmenter.model)


def test_results_are_compared_by_value(segmenter, examples):
    first, again, other = (segmenter(examples / f"{name}.png") for name in ("street", "street", "cyclist"))
    assert first == again
    assert first != other and first != "street"
    again.labels[0, 0] += 1
    assert first != again


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
        RuntimeError("MPS backend out of memory"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
    ids=str,
)
def test_an_image_for_which_there_is_not_enough_memory(error, segmenter, examples, monkeypatch):
    def fail(*args):
        raise error

    monkeypatch.setattr(segmenter.task, "predict", fail, raising=True)
    with pytest.raises(ImageError, match=r"street.png: not enough memory on cpu for 480x360 pixels"):
        segmenter(examples / "street.png")
    monkeypatch.setattr(segmenter.task, "predict", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        segmenter(examples / "street.png")
