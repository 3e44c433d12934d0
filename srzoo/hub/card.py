"""The model card: what a visitor of a repository reads, made from the file of the model and its receipts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from huggingface_hub import EvalResult, ModelCardData
from PIL import Image, ImageDraw, ImageFont

from ..messages import visible
from ..zoo import registry
from ..zoo.datasets import DATASETS
from ..zoo.info import licence_chain
from ..zoo.published import PUBLISHED
from ..zoo.remote import HUB

if TYPE_CHECKING:
    from ..zoo.config import ModelConfig

OVERLAY, COLOURS = "overlay.jpg", "classes.png"  # the pictures of a repository
_ROW, _SWATCH, _COLUMN, _ROWS = 26, 36, 240, 20  # sizes of the picture of the colours: pixels, and rows of a column
_LONGEST_NAME = 60  # characters of a class's name in a table
_TASKS = {"semantic": "semantic segmentation", "instance": "instance segmentation", "panoptic": "panoptic segmentation"}


def model_card(
    repository: str,
    config: ModelConfig,
    receipts: Sequence[dict],
    licences: Sequence[str],
    recipe: str | None = None,
    has_overlay: bool = False,
) -> str:
    """The text of the model card, Markdown with a YAML header.

    Args:
        repository: ``owner/name``.
        config: of the model.
        receipts: of the weights, see `srzoo.evaluate.receipt`.
        licences: the terms that apply, a line each.
        recipe: the recipe that trained the model, as YAML.
        has_overlay: whether the repository has the picture `OVERLAY`.
    """
    name = repository.partition("/")[2]
    task = _TASKS.get(config.task, config.task)
    parts = [
        f"---\n{_header(name, config, receipts)}\n---",
        f"# {name}",
        f"A model for {task} into {len(config.classes)} classes: {_code(config.name)} of srzoo, a model zoo for "
        "Squeeze Reasoning ([SRNet, arXiv 2011.03308](https://arxiv.org/abs/2011.03308)).",
    ]
    if has_overlay:
        parts.append(f"![An image, and the classes that the model finds in it]({OVERLAY})")
    call = f'srzoo.Segmenter("{HUB}{repository}")("photo.jpg").overlay().save("overlay.jpg")'
    parts += [
        f"```python\nimport srzoo\n{call}\n```",
        f'`srzoo.load_model("{HUB}{repository}")` is the network, an ordinary `nn.Module`, and '
        f"`srzoo segment photo.jpg --model {HUB}{repository}` the command.",
        "## Figures",
        *(map(_measured, receipts) if receipts else ["Not measured: there is no receipt of an evaluation."]),
        "## Classes",
        f"![The colours of the classes]({COLOURS})",
        _class_table(config, receipts[0] if receipts else None),
        "## Licences",
        "All of these apply:",
        "\n".join(f"* {_plain(line)}" for line in licences),
    ]
    if recipe is not None:
        fenced = recipe.strip().replace("```", "---")
        parts += ["## Training", f"```yaml\n{fenced}\n```"]
    return "\n\n".join(parts) + "\n"


def licences_of(config: ModelConfig, sha256: str) -> list[str]:
    """The terms that apply to the weights of a file, as far as srzoo knows them.

    Args:
        config: of the model.
        sha256: of the file.
    """
    published = next((each for each in PUBLISHED.values() if each.sha256 == sha256), None)
    if published is not None:
        return list(published.licence)
    try:
        architecture, dataset = registry.split_name(config.name)
    except ValueError:  # a name of another version
        return ["srzoo: Apache-2.0", "what it was trained on: ask the owner of this repository"]
    known = dataset is not None and DATASETS[dataset].labels.get(config.task) == config.labels
    chain = list(licence_chain(architecture, dataset if known else None))
    return chain if known else [*chain, "what it was trained on: ask the owner of this repository"]


def colours_picture(config: ModelConfig) -> Image.Image:
    """The colours of the classes with their names, in columns."""
    font = ImageFont.load_default(15)
    count = len(config.classes)
    rows, columns = min(count, _ROWS), -(-count // _ROWS)
    picture = Image.new("RGB", (columns * _COLUMN, rows * _ROW + 8), "white")
    draw = ImageDraw.Draw(picture)
    for i, (name, colour) in enumerate(zip(config.classes, config.palette)):
        left, top = i // _ROWS * _COLUMN + 6, i % _ROWS * _ROW + 6
        draw.rectangle((left, top, left + _SWATCH, top + _ROW - 6), fill=tuple(colour), outline="gray")
        draw.text((left + _SWATCH + 8, top + 1), visible(name, 24), fill="black", font=font)
    return picture


def _header(name: str, config: ModelConfig, receipts: Sequence[dict]) -> str:
    """The YAML that a hub indexes."""
    results = [
        EvalResult(
            task_type="image-segmentation",
            dataset_type=str(receipt["dataset"]),
            dataset_name=str(receipt["dataset"]),
            dataset_split=str(receipt["split"]),
            metric_type={"mIoU": "mean_iou"}.get(receipt["headline"], receipt["headline"]),
            metric_name=f"{receipt['headline']} ({receipt['protocol']})",
            metric_value=round(100 * receipt["figures"][receipt["headline"]], 2),
        )
        for receipt in receipts
    ]
    facts = ModelCardData(
        license="other",
        library_name="srzoo",
        pipeline_tag="image-segmentation",
        tags=["srzoo", "srnet", "squeeze-reasoning", f"{config.task}-segmentation"],
        **({"model_name": name, "eval_results": results} if results else {}),
    )
    return facts.to_yaml().strip()


def _measured(receipt: dict) -> str:
    rows = "\n".join(f"| {_plain(name)} | {_percent(value)} |" for name, value in receipt["figures"].items())
    return (
        f"On {_plain(receipt['dataset'])} {_plain(receipt['split'])}, {receipt['images']} images: "
        f"{_plain(receipt['protocol'])}.\n\n| figure | value |\n|---|---|\n{rows}\n\n"
        f"Measured by {_code(receipt['command'])}, srzoo at commit {_plain(receipt.get('commit') or 'unknown')}."
    )


def _class_table(config: ModelConfig, receipt: dict | None) -> str:
    by_class: dict[str, Any] = receipt["by_class"] if receipt else {}
    rows = [
        f"| id | class | colour |{''.join(f' {_plain(each)} |' for each in by_class)}",
        "|---|---|---|" + "---|" * len(by_class),
    ]
    for i, (name, colour) in enumerate(zip(config.classes, config.palette)):
        figures = "".join(f" {_percent(values.get(name))} |" for values in by_class.values())
        rows.append(f"| {i} | {_plain(visible(name, _LONGEST_NAME))} | `#{bytes(colour).hex()}` |{figures}")
    return "\n".join(rows)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


def _plain(text: object) -> str:
    """A text from a file as text, in which nothing is a mark of Markdown or HTML."""
    return _MARKS.sub(lambda mark: f"&#{ord(mark[0])};", visible(str(text)))


def _code(text: object) -> str:
    """A text from a file as code within a line."""
    return "`" + visible(str(text)).replace("`", "'") + "`"


_MARKS = re.compile(r"[\[\]!*`|<>&\\]")
