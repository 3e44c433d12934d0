"""Sending a model to a repository of a model hub. huggingface_hub does the transport."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError
from PIL import Image
from torch import nn

from ..evaluate.receipt import read_receipts
from ..messages import one_line, shortened
from ..predict import Segmenter
from ..recipes.recipe import parse_recipe
from ..zoo.factory import save_model
from ..zoo.published import PUBLISHED
from ..zoo.remote import HUB_FILE, hub_reason, quiet, split_hub_name
from ..zoo.weights import read_config, read_run_recipe
from .card import COLOURS, OVERLAY, colours_picture, licences_of, model_card

_LARGEST_PICTURE = 1024  # pixels of a side of the image in a card


def push_to_hub(
    source: str | Path | nn.Module,
    repository: str,
    receipt: str | Path | None = None,
    image: Any = None,
    licences: Sequence[str] = (),
    private: bool = False,
    token: str | None = None,
    message: str = "A model of srzoo",
) -> str:
    """Publish a model: its file, a model card, and pictures, in one commit. The repository is made if need be.

    The token is that of huggingface_hub: from ``hf auth login`` or the environment's HF_TOKEN.

    Args:
        source: one of srzoo's ``.safetensors`` files, a name with published weights, or a model.
        repository: ``owner/name``.
        receipt: file of ``srzoo eval --receipt``, for the card's figures. Only those of these weights are used.
        image: an image as `Segmenter` takes it, which the card shows with the model's result.
        licences: further terms that apply, such as those of the images it was trained on, a line each.
        private: make the repository private if it does not exist.
        token: instead of the one of huggingface_hub.
        message: of the commit.

    Returns:
        The address of the repository.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the source is not one of srzoo's, the receipts are of other weights, the name has another form, or
            the hub does not permit it.
        srzoo.images.ImageError: the image cannot be read.
        RuntimeError: the hub cannot be reached.
    """
    name, revision = split_hub_name(repository)
    if revision is not None:
        raise ValueError(f"a model is published as owner/name, got {shortened(repository)}")
    with tempfile.TemporaryDirectory(prefix="srzoo-") as folder:
        write_repository(source, name, Path(folder), receipt, image, licences)
        api = HfApi(token=token, library_name="srzoo")
        try:
            with quiet():
                api.whoami()  # at once without a network or a token, where the other calls try for long
                address = api.create_repo(name, private=private, exist_ok=True)
                api.upload_folder(repo_id=name, folder_path=folder, commit_message=message)
        except Exception as error:
            reason, kind = _reason(error)
            raise kind(f"{name}: {reason}") from error
    return str(address)


def write_repository(
    source: str | Path | nn.Module,
    repository: str,
    folder: Path,
    receipt: str | Path | None = None,
    image: Any = None,
    licences: Sequence[str] = (),
) -> None:
    """Write the files that `push_to_hub` sends to an empty folder; arguments and errors are those of `push_to_hub`."""
    target = folder / HUB_FILE
    published = PUBLISHED.get(source) if isinstance(source, str) else None
    if isinstance(source, nn.Module):
        save_model(source, target)
    else:
        path = published.path if published else Path(source)
        read_config(path)  # an error names the file that was given
        shutil.copyfile(path, target)
    config, recipe = read_config(target), _recipe(target)
    sha256 = hashlib.sha256(target.read_bytes()).hexdigest()
    receipts = published.receipts() if published else []
    if receipt is not None:
        receipts = [each for each in _read(receipt) if each["weights_sha256"] == sha256]
        if not receipts:
            raise ValueError(f"{receipt} has no receipt of these weights, whose sha256 is {sha256[:12]}...")
    if image is not None:
        _picture(target, image).save(folder / OVERLAY, quality=90)
    colours_picture(config).save(folder / COLOURS)
    terms = [*licences_of(config, sha256), *licences]
    card = model_card(repository, config, receipts, terms, recipe, has_overlay=image is not None)
    (folder / "README.md").write_text(card, encoding="utf-8")


def _read(receipt: str | Path) -> list[dict]:
    if not Path(receipt).is_file():
        raise FileNotFoundError(f"no file of receipts {receipt}")
    return read_receipts(Path(receipt))


def _recipe(path: Path) -> str | None:
    """The recipe in a file, if it is one, without the folder of its images; a warning says that the file names it."""
    stored = read_run_recipe(path)
    if stored is None:
        return None
    try:
        recipe = parse_recipe(stored, "the recipe")
        root, data = recipe.data.root, dataclasses.replace(recipe.data, root=None)
        text = dataclasses.replace(recipe, data=data).to_yaml()
    except (ValueError, OSError) as error:  # of another version, or of a model in a file that is not here
        warnings.warn(f"the recipe in the file is left out of the card ({one_line(error)})", stacklevel=4)
        return None
    if root:
        warnings.warn(f"the header of the file names the folder of its images, {shortened(str(root))}", stacklevel=4)
    return text


def _picture(path: Path, image: Any) -> Image.Image:
    """An image beside the model's result."""
    result = Segmenter(path)(image, brief=True)
    pair = Image.new("RGB", (2 * result.image.width, result.image.height))
    pair.paste(result.image, (0, 0))
    pair.paste(result.overlay(), (result.image.width, 0))
    pair.thumbnail((2 * _LARGEST_PICTURE, _LARGEST_PICTURE))
    return pair


def _reason(error: Exception) -> tuple[str, type[Exception]]:
    status = getattr(getattr(error, "response", None), "status_code", 0)
    if isinstance(error, LocalTokenNotFoundError) or (isinstance(error, HfHubHTTPError) and status in (401, 403)):
        return "not permitted; log in with `hf auth login`, or set HF_TOKEN to a token that may write", ValueError
    reason, kind = hub_reason(error)
    return reason.replace(", and the model is not in the cache", ""), kind
