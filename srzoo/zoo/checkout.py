"""The checkout that the package runs from, for what is said of a measurement."""

import subprocess
from pathlib import Path


def commit(ignoring: tuple[str, ...] = ()) -> str | None:
    """Its commit in 12 digits, with "-dirty" if a tracked file differs from it; None for an installed package.

    Args:
        ignoring: folders whose files may differ.
    """
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():  # else an environment inside somebody's repository would name that one's commit
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
