"""The weights that srzoo ships, with their receipts."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .config import ModelConfig
from .weights import read_model_file

if TYPE_CHECKING:
    import torch

DATA = Path(__file__).parents[1] / "weights_data"


@dataclass(frozen=True)
class Weights:
    """A published file.

    Attributes:
        file: name of the file in ``srzoo/weights_data``.
        sha256: of the bytes of the file.
        parameters: number of parameters of the model, with the auxiliary head.
        licence: the terms of srzoo's code, of the backbone's weights and of the dataset.
        recipe: name of the recipe that trained it.
    """

    file: str
    sha256: str
    parameters: int
    licence: tuple[str, ...]
    recipe: str

    @property
    def path(self) -> Path:
        return DATA / self.file

    def receipts(self) -> list[dict]:
        """The receipts of this file, one for each protocol, as `srzoo eval --receipt` wrote them beside it."""
        return [receipt for receipt in self._measured() if receipt["weights_sha256"] == self.sha256]

    def receipt(self) -> dict:
        """The first of `receipts`, which is the single-scale one."""
        return self.receipts()[0]

    def by_split(self) -> dict[str, dict]:
        """The first of `receipts` of each split, by the name of the split."""
        first: dict[str, dict] = {}
        for receipt in self.receipts():
            first.setdefault(receipt["split"], receipt)
        return first

    def repeats(self, receipt: dict) -> list[dict]:
        """The receipts of runs with other seeds, under the protocol of one of this file's receipts.

        They are in the same JSON file, written from the weights of those runs. Their recipes show any other difference.

        Args:
            receipt: one of `receipts`.

        Returns:
            The receipts in order of seed.
        """
        own, keys = receipt["seed"], ("dataset", "split", "protocol")
        same = [each for each in self._measured() if all(each[key] == receipt[key] for key in keys)]
        return sorted((each for each in same if each["seed"] not in (None, own)), key=lambda each: each["seed"])

    def _measured(self) -> list[dict]:
        return json.loads(self.path.with_suffix(".json").read_text())


def read_published(weights: Weights) -> tuple[ModelConfig, dict[str, torch.Tensor]]:
    """Read a published file and check its hash.

    Returns:
        The configuration and the float32 state dict.

    Raises:
        ValueError: the file is missing or damaged.
    """
    try:
        content = weights.path.read_bytes()
    except FileNotFoundError as error:
        raise ValueError(f"the weights file {weights.path} is missing; reinstall srzoo") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != weights.sha256:
        raise ValueError(
            f"{weights.path} has sha256 {digest[:12]}..., expected {weights.sha256[:12]}...: "
            "the file is damaged; reinstall srzoo"
        )
    return read_model_file(weights.path)


PUBLISHED: dict[str, Weights] = {
    "srnet_lite0_camvid": Weights(
        file="srnet_lite0_camvid.safetensors",
        sha256="3f2ccc2c18ed6d4324e90199c6e9dc87027ebc63943e9eb031dee840a47b7f1e",
        parameters=3_616_274,
        licence=(
            "srzoo: Apache-2.0",
            "EfficientNet-Lite0 by Google, packaged by ML Illustrated: Apache-2.0; trained on ImageNet (research use)",
            "CamVid (Brostow et al., 2008): research use only",
        ),
        recipe="srnet_lite0_camvid",
    ),
    "srnet_dfv2_camvid": Weights(
        file="srnet_dfv2_camvid.safetensors",
        sha256="0096b32e457ae4a158f8c9bf53eb4ce1e4ad7faeae0d0df96ef7c61231061226",
        parameters=18_873_910,
        licence=(
            "srzoo: Apache-2.0",
            "taught by srnet_lite0_camvid, and so under its terms too",
            "CamVid (Brostow et al., 2008): research use only",
        ),
        recipe="srnet_dfv2_camvid",
    ),
    "srnet_lite0_facade": Weights(
        file="srnet_lite0_facade.safetensors",
        sha256="b64e944b23dec2d61bbb932648a873a18e628e5cdb165944e51c67eba8309b04",
        parameters=3_616_180,
        licence=(
            "srzoo: Apache-2.0",
            "EfficientNet-Lite0 by Google, packaged by ML Illustrated: Apache-2.0; trained on ImageNet (research use)",
            "Building facades (a-hwang/building-facade-segmentation): CC BY 4.0",
        ),
        recipe="srnet_lite0_facade",
    ),
    "srnet_panoptic_fpn_lite0_facade": Weights(
        file="srnet_panoptic_fpn_lite0_facade.safetensors",
        sha256="ee15fa75f74c3f436464a8022756bab26a70eaf7b86c93af7658c13eae0f8163",
        parameters=6_163_293,
        licence=(
            "srzoo: Apache-2.0",
            "EfficientNet-Lite0 by Google, packaged by ML Illustrated: Apache-2.0; trained on ImageNet (research use)",
            "Building facades (a-hwang/building-facade-segmentation): CC BY 4.0",
        ),
        recipe="srnet_panoptic_fpn_lite0_facade_final",
    ),
    "srnet_mask_rcnn_lite0_facade": Weights(
        file="srnet_mask_rcnn_lite0_facade.safetensors",
        sha256="62e442975e59eeda7ba22776170fb9290c3995bc53109bbd780c8886ac4c0da7",
        parameters=5_830_231,
        licence=(
            "srzoo: Apache-2.0",
            "EfficientNet-Lite0 by Google, packaged by ML Illustrated: Apache-2.0; trained on ImageNet (research use)",
            "Building facades (a-hwang/building-facade-segmentation): CC BY 4.0",
        ),
        recipe="srnet_mask_rcnn_lite0_facade_final",
    ),
}


def file_of(source: str) -> str:
    """The path of a published model's file for its name, and anything else as it is."""
    return str(PUBLISHED[source].path) if source in PUBLISHED else source
