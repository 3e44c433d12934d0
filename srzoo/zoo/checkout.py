"""The commit of the checkout that the package runs from, for receipts and benchmark results."""

import subprocess
from pathlib import Path


def commit(ignoring: tuple[str, ...] = ()) -> str | None:
    """The commit as 12 digits, with "-dirty" if a tracked file was changed; None for an installed package.

    Args:
        ignoring: folders whose changes do not count, relative to the root of the checkout.
    """
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():  # installed in a folder of another repository, git would find that one
        return None
    try:
        head = _git(root, "rev-parse", "--short=12", "HEAD")
        changed = _git(root, "diff", "HEAD", "--name-only", "--", ".", *(f":!{folder}" for folder in ignoring))
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{head}-dirty" if changed else head


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
