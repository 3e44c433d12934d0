"""Models elsewhere: in a repository of a model hub, or at an address with the hash of the file.

``hf-hub:owner/name``, ``hf-hub:owner/name@revision``, or ``https://host/model.safetensors#sha256=...``. Both are files
from strangers: only the tensors and the configuration in a safetensors file are read, and no code is run.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from ..messages import one_line, shortened, visible
from ..web import DownloadError, is_address, without_password
from .cache import cache_folder, fetch_once, wrong_hash
from .weights import read_model_file

if TYPE_CHECKING:
    import torch

    from .config import ModelConfig

HUB = "hf-hub:"  # timm's prefix
HUB_FILE = "model.safetensors"
_NAME = re.compile(
    rf"{HUB}(?P<repository>[\w-][\w.-]{{0,95}}/[\w-][\w.-]{{0,95}})(@(?P<revision>[\w./-]{{1,128}}))?", re.A
)
_ADDRESS = re.compile(r"(?P<address>[^#]+)#sha256=(?P<sha256>[0-9a-f]{8,64})", re.I)
_LARGEST = 8 << 30  # bytes of a hub's file
_SECONDS = 5  # until a hub that does not answer counts as unreachable
_SHA256 = re.compile(r"[0-9a-f]{64}")


def is_remote(source: object) -> bool:
    """Whether a model is given as a repository of a hub, or as an address."""
    return isinstance(source, str) and (source.startswith(HUB) or is_address(source))


def read_remote(source: str) -> tuple[ModelConfig, dict[str, torch.Tensor]]:
    """The configuration and the state dict of a model elsewhere, which is downloaded if it is not in the cache.

    Raises:
        RuntimeError: it cannot be reached.
        ValueError: there is no such repository or file, it is damaged, or it is not one of srzoo's.
    """
    path = remote_file(source)
    try:
        return read_model_file(path)
    except ValueError as error:
        raise ValueError(str(error).replace(str(path), shown(source))) from error


def remote_file(source: str) -> Path:
    """The file of a model elsewhere in the cache; arguments and errors as in `read_remote`."""
    return _hub_file(source) if source.startswith(HUB) else _file_at(source)


def shown(source: str) -> str:
    """A model elsewhere as messages name it."""
    return visible(without_password(source).partition("#")[0], 200)


def split_hub_name(name: str) -> tuple[str, str | None]:
    """``("owner/name", revision or None)`` of the name of a repository, with or without ``hf-hub:``.

    Raises:
        ValueError: it has another form.
    """
    match = _NAME.fullmatch(name if name.startswith(HUB) else f"{HUB}{name}")
    if match is None or ".." in name or "--" in match["repository"]:
        raise ValueError(f"a repository of a hub is named {HUB}owner/name, got {shortened(name)}")
    return match["repository"], match["revision"]


def _file_at(source: str) -> Path:
    match = _ADDRESS.fullmatch(source)
    if match is None:
        raise ValueError(
            f"{shown(source)}: an address of weights ends in #sha256= and the hash of the file, of at least 8 digits"
        )
    address, sha256 = match["address"], match["sha256"].lower()
    name = re.sub(r"[^\w.-]", "_", Path(unquote(urlsplit(address).path)).name)[-100:]
    path = cache_folder() / f"{sha256[:16]}-{name}"
    try:
        if not path.is_file():
            fetch_once(address, sha256, path)
        elif problem := wrong_hash(path, sha256):
            raise ValueError(f"{path} {problem}: it is damaged; delete it, so that it is downloaded again")
    except (DownloadError, OSError) as error:
        raise RuntimeError(f"{shown(source)}: could not be downloaded ({one_line(error)})") from error
    return path


def _hub_file(source: str) -> Path:
    import huggingface_hub as hub  # takes a second

    repository, revision = split_hub_name(source)
    settings = {"repo_id": repository, "filename": HUB_FILE, "revision": revision}
    expected = None
    with quiet(), _told(source):
        try:
            # By itself, hf_hub_download tries for half a minute to reach a hub that cannot be reached.
            facts = hub.get_hf_file_metadata(hub.hf_hub_url(**settings), timeout=_SECONDS)
        except Exception as error:
            if not is_unreachable(error):
                raise
            path = Path(_cached(hub, settings, error))
            expected = path.resolve().name  # where the cache has links, its files are named by their hash
        else:
            expected = facts.etag
            if (facts.size or 0) > _LARGEST:
                raise ValueError(f"{HUB_FILE} has {facts.size:,} bytes, expected at most {_LARGEST:,}")
            path = Path(hub.hf_hub_download(**settings, etag_timeout=_SECONDS, library_name="srzoo"))
    if expected and _SHA256.fullmatch(expected) and (problem := wrong_hash(path, expected)):
        for each in (path.resolve(), path):
            each.unlink(missing_ok=True)
        raise ValueError(f"{shown(source)}: what was downloaded {problem}; it is removed, so try again")
    return path


def _cached(hub: Any, settings: dict, error: Exception) -> str:
    """The file in the cache, or the error that the hub cannot be reached."""
    try:
        return hub.hf_hub_download(**settings, local_files_only=True)
    except Exception:
        raise error from None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Context manager without the log of huggingface_hub, whose errors are raised too."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def is_unreachable(error: Exception) -> bool:
    """Whether an error of huggingface_hub says that the hub cannot be reached, rather than what it has answered."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    if isinstance(error, HfHubHTTPError):
        return getattr(error.response, "status_code", 0) >= 500
    # The library that it sends requests with differs between its versions, and so do the errors for no connection.
    modules = {each.__module__.partition(".")[0] for each in type(error).__mro__}
    return isinstance(error, (ConnectionError, TimeoutError, LocalEntryNotFoundError)) or bool(
        modules & {"httpx", "httpx2", "requests", "httpcore"}
    )


@contextlib.contextmanager
def _told(source: str) -> Iterator[None]:
    """Context manager in which an error of huggingface_hub becomes one line about a model."""
    try:
        yield
    except Exception as error:
        reason, kind = hub_reason(error)
        raise kind(f"{shown(source)}: {reason}") from error


def hub_reason(error: Exception) -> tuple[str, type[Exception]]:
    """What an error of huggingface_hub means, and the type of error to raise for it."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return "its owner has to grant you access; ask on its page, and log in with `hf auth login`", ValueError
    if isinstance(error, errors.RepositoryNotFoundError):
        return "there is no such repository, or it is private; then log in with `hf auth login`", ValueError
    if isinstance(error, errors.RevisionNotFoundError):
        return "the repository has no such revision", ValueError
    if isinstance(error, errors.LocalEntryNotFoundError) or is_unreachable(error):
        cause = error.__cause__ or error
        return f"the hub cannot be reached ({one_line(cause)}), and the model is not in the cache", RuntimeError
    if isinstance(error, errors.EntryNotFoundError):
        return f"the repository has no {HUB_FILE}, so it holds no model of srzoo", ValueError
    if isinstance(error, errors.HfHubHTTPError):
        status = getattr(error.response, "status_code", 0)
        if status in (401, 403):
            return "not permitted; log in with `hf auth login`, or set HF_TOKEN to a token that may write", ValueError
        return f"the hub answers with status {status} ({one_line(error)})", RuntimeError
    if isinstance(error, OSError):
        return f"could not be transferred ({one_line(error)}); try again", RuntimeError
    return one_line(error), ValueError
