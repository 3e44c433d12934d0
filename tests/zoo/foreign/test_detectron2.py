import collections
import pickle

import numpy as np
import pytest
import torch
from torch.nn import functional

import srzoo
from srzoo.cli import main
from srzoo.labels.coco import COCO_PANOPTIC
from srzoo.zoo.conversion import convert
from tests.zoo.foreign.reference import RESNET_18, Detectron2, assert_same_detections, balanced, double, random_state
from tests.zoo.foreign.test_mmdet import picture

BGR_MEAN, BGR_STD = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)


def pickled(state, path, protocol=4, **others):
    """As in detectron2's model zoo: a pickle of numpy arrays."""
    arrays = {key: value.numpy() for key, value in state.items()}
    path.write_bytes(pickle.dumps({"model": arrays, "__author__": "Detectron2 Model Zoo", **others}, protocol))


def converted(state, tmp_path, dataset=None, **options):
    pickled(state, tmp_path / "in.pkl", **options)
    title = convert(tmp_path / "in.pkl", tmp_path / "out.safetensors", dataset)
    return title, srzoo.load_model(tmp_path / "out.safetensors").eval()


def bgr(x, std=(1.0, 1.0, 1.0)):
    """The input of theirs for one of srzoo's, which is RGB normalized by ImageNet's statistics."""
    own = torch.tensor([0.229, 0.224, 0.225]).double()[:, None, None]
    mean = torch.tensor([0.485, 0.456, 0.406]).double()[:, None, None]
    theirs = 255 * (x * own + mean).flip(1) - torch.tensor(BGR_MEAN).double()[:, None, None]
    return theirs / torch.tensor(std).double()[:, None, None]


def msra(state):
    """With a first convolution for values of up to 255."""
    state["backbone.bottom_up.stem.conv1.weight"] /= 57
    return state


@torch.inference_mode()
def test_mask_rcnn_with_msra_s_resnet(tmp_path):
    """BGR, not divided by a standard deviation, and with the stride in the first convolution of a block."""
    state = msra(random_state(Detectron2, 5, counters=False))
    title, model = converted(state, tmp_path)
    assert title == "Mask R-CNN of detectron2, over resnet50, 5 classes"
    assert model.config.name == "mask_rcnn_r50" and model.config.options["stride_in_1x1"] is True
    theirs = Detectron2(double(state))
    theirs.stride_in_1x1 = True
    x = picture()
    assert_same_detections(model.double()(x)[0], theirs(bgr(x)))


class LargeScaleJitter(Detectron2):
    """Its networks with norms in the pyramid and heads, two convolutions before the proposals and four before boxes."""

    def conv(self, name, x, **options):
        if name == self.rpn[0]:
            return super().conv(f"{name}.conv1", super().conv(f"{name}.conv0", x, **options).relu(), **options)
        x, norm = super().conv(name, x, **options), f"{name}.norm"
        if f"{norm}.weight" not in self.state:
            return x
        keys = ("running_mean", "running_var", "weight", "bias")
        return functional.batch_norm(x, *(self.state[f"{norm}.{key}"] for key in keys), eps=1e-5)

    def conv_norm(self, name, x, **options):
        return self.conv(name, x, **options)

    def box_stage(self, levels, boxes, stage):
        x = self.pool(levels, boxes, 7)
        for i in range(4):
            x = self.conv(f"roi_heads.box_head.conv{i + 1}", x, padding=1).relu()
        first, _, classes, deltas = self.box(stage)
        x = self.linear(first, x.flatten(1)).relu()
        return self.linear(classes, x).float(), self.linear(deltas, x).float()

    def mask_convs(self, prefix):
        return 4

    @classmethod
    def random_state(cls, classes):
        state = random_state(Detectron2, classes, RESNET_18, counters=False)
        heads = "roi_heads.box_head", "proposal_generator.rpn_head.conv"
        del state[f"{heads[0]}.fc2.weight"], state[f"{heads[0]}.fc2.bias"]
        layer = {key: state.pop(f"{heads[1]}.{key}") for key in ("weight", "bias")}
        for i in (0, 1):
            state |= {f"{heads[1]}.conv{i}.{key}": value.clone() for key, value in layer.items()}
        for i in range(4):
            state[f"{heads[0]}.conv{i + 1}.weight"] = layer["weight"].roll(i, 0)
        normed = [f"backbone.fpn_{kind}{i}" for kind in ("lateral", "output") for i in range(2, 6)]
        normed += [f"{heads[0]}.conv{i}" for i in range(1, 5)] + [
            f"roi_heads.mask_head.mask_fcn{i}" for i in range(1, 5)
        ]
        for number, name in enumerate(normed):
            state.pop(f"{name}.bias", None)
            for key in ("weight", "bias", "running_mean", "running_var"):
                value = state[f"backbone.bottom_up.stem.conv1.norm.{key}"]
                state[f"{name}.norm.{key}"] = value.roll(number)[: len(state[f"{name}.weight"])].clone()
        return state


@torch.inference_mode()
def test_mask_rcnn_trained_by_large_scale_jitter(tmp_path):
    x = bgr(picture())
    state = balanced(LargeScaleJitter(msra(LargeScaleJitter.random_state(5))), x)
    title, model = converted(state, tmp_path)
    assert title == "Mask R-CNN of detectron2, over resnet18, 5 classes"
    found = {key: model.config.options[key] for key in ("norm", "rpn_convs", "box_layers")}
    assert found == {"norm": True, "rpn_convs": 2, "box_layers": (32,) * 4}
    assert_same_detections(model.double()(picture())[0], LargeScaleJitter(double(state))(x))


@torch.inference_mode()
def test_cascade_with_a_resnext_has_one_mask_head(tmp_path):
    """detectron2's ResNeXt divides BGR by the standard deviation."""
    x = bgr(picture(96, 128), BGR_STD)
    state = balanced(Detectron2(random_state(Detectron2, 12, groups=32, width=128, stages=3, counters=False), 3), x)
    title, model = converted(state, tmp_path)
    assert title == "Cascade Mask R-CNN of detectron2, over resnext50_32x4d, 12 classes"
    assert model.config.options["average"] == "probabilities" and len(model.roi_heads.mask_head) == 1
    assert "stride_in_1x1" not in model.config.options
    assert_same_detections(model.double()(picture(96, 128))[0], Detectron2(double(state), 3)(x))


@torch.inference_mode()
def test_panoptic_fpn_with_statistics_in_the_file(tmp_path):
    """RGB with a standard deviation, as when it was trained from torchvision's ResNet."""
    state = random_state(Detectron2, 80, stuff=53, counters=False)
    state["pixel_mean"] = torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)
    state["pixel_std"] = torch.tensor([58.395, 57.12, 57.375]).view(3, 1, 1)
    state["proposal_generator.anchor_generator.cell_anchors.0"] = torch.zeros(3, 4)
    title, model = converted(state, tmp_path)
    assert title == "Panoptic FPN of detectron2, over resnet50, 133 classes of coco"
    assert model.config.name == "panoptic_fpn_r50_coco" and model.config.labels == COCO_PANOPTIC
    assert "stride_in_1x1" not in model.config.options
    theirs, x = Detectron2(double(state)), picture()
    found = model.double()(x)[0]
    torch.testing.assert_close(found["semantic"], theirs.semantic(x)[0], atol=1e-4, rtol=0)
    assert_same_detections(found, theirs(x))


def test_a_training_checkpoint(tmp_path):
    """As detectron2 writes it, with PyTorch; the classes are numbered unless a dataset is given."""
    state = random_state(Detectron2, 8, RESNET_18)
    torch.save({"model": state, "optimizer": {}, "iteration": 9}, tmp_path / "model_final.pth")
    target = tmp_path / "out.safetensors"
    assert convert(tmp_path / "model_final.pth", target).endswith("over resnet18, 8 classes")
    assert srzoo.load_model(target).config.classes[7] == "class 7"
    assert convert(tmp_path / "model_final.pth", target, "cityscapes").endswith("8 classes of cityscapes")
    assert srzoo.load_model(target).config.classes[7] == "bicycle"


def test_another_mean(tmp_path):
    state = random_state(Detectron2, 3, RESNET_18) | {"pixel_mean": torch.tensor([127.5, 127.5, 127.5])}
    with pytest.raises(ValueError, match="127.5.*expected ImageNet's, 123.675"):
        converted(state, tmp_path)


class Unsafe:
    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": {"a": Unsafe()}}, "holds builtins.print, which could run code"),
        ({"model": {}, "matching_heuristics": torch.zeros(1)}, r"holds torch\S*\.\w+, which could run code"),
        ({"model": {"a": np.float64(1)}}, "holds numpy.*scalar, which could run code"),
        ({"model": {"a": [1, 2]}}, "a list at a; expected an array of numbers"),
        ({"model": {"a": np.array(["text"])}}, "an array of <U4 at a; expected an array of numbers"),
        ({"model": {"a": np.array([None])}}, "an array of object at a"),
        ({"model": {"a": np.zeros(2, np.longdouble)}}, "float128 at a, which PyTorch does not have"),
        ({"model": {3: np.zeros(2)}}, "has the key 3"),
        ({"model": {}}, "no dict of arrays under 'model'"),
        ({"weights": {"a": np.zeros(2)}}, "no dict of arrays under 'model'"),
        ([1], "no dict of arrays"),
        ({"model": {"a": np.zeros(2)}}, "its first tensor is a$"),
        ({"model": {"backbone.bottom_up.a": np.zeros(2)}}, "stages of 0, 0, 0, 0 blocks"),
    ],
)
def test_invalid_pickles(content, message, tmp_path, capsys):
    source = tmp_path / "in.pkl"
    source.write_bytes(pickle.dumps(content, 4))
    with pytest.raises(ValueError, match=message) as raised:
        convert(source, tmp_path / "out.safetensors")
    assert "\n" not in str(raised.value) and str(source) in str(raised.value)
    assert not capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["in.pkl"]


def test_pickles_of_any_age(tmp_path):
    """Of numpy 1 and 2, of Python 2, in an OrderedDict, and of other orders of bytes and axes."""
    from srzoo.zoo.foreign.pickles import is_plain_pickle, read_numpy_pickle

    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    content = {"model": collections.OrderedDict(a=array, b=array.astype(">f4"), c=array.T, d=array.astype(np.int64))}
    written = pickle.dumps(content, 4)
    now, before = (b"\x8c\x15numpy._core.multiarray"[1:], b"numpy.core.multiarray")
    assert now[1:] in written or before in written
    for data in (written, pickle.dumps(content, 3)):
        (tmp_path / "in.pkl").write_bytes(data)
        assert is_plain_pickle(tmp_path / "in.pkl")
        state = read_numpy_pickle(tmp_path / "in.pkl")
        assert state["a"].tolist() == state["b"].tolist() == state["c"].T.tolist() == array.tolist()
        assert state["b"].dtype == torch.float32 and state["d"].dtype == torch.int64
    torch.save({"a": torch.zeros(1)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert not is_plain_pickle(tmp_path / "old.pth") and not is_plain_pickle(tmp_path / "none.pkl")


def test_the_command_line(tmp_path, capsys):
    state = random_state(Detectron2, 3, RESNET_18)
    source, target = tmp_path / "in.pkl", tmp_path / "out.safetensors"
    pickled(state, source)
    assert main(["convert", str(source), str(target)]) == 0
    title = "Mask R-CNN of detectron2, over resnet18, 3 classes"
    assert capsys.readouterr().out == f"{source}: {title} -> {target}\n"
    pickled(state, source, other=Unsafe())
    target.write_bytes(b"as it was")
    assert main(["convert", str(source), str(target)]) == 2
    assert capsys.readouterr().err.startswith(f"srzoo: {source} holds builtins.print")
    assert target.read_bytes() == b"as it was"


def test_a_truncated_pickle(tmp_path):
    state = {"backbone.bottom_up.a": torch.zeros(1000)}
    pickled(state, tmp_path / "in.pkl")
    content = (tmp_path / "in.pkl").read_bytes()
    for share in (0.01, 0.5, 0.99):
        (tmp_path / "in.pkl").write_bytes(content[: int(share * len(content))])
        with pytest.raises(ValueError, match=r"in\.pkl .*damaged"):
            convert(tmp_path / "in.pkl", tmp_path / "out.safetensors")
