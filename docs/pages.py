"""Pages of the documentation that are made from the package: the models, the commands, the figures.

A hook of mkdocs. A line ``<!-- name -->`` of a page is replaced by what the function of that name returns, which
``python docs/pages.py name`` prints.
"""

import argparse
import ast
import contextlib
import csv
import io
import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "kernels")]
os.environ["COLUMNS"] = "100"  # the width of argparse's help


def on_page_markdown(markdown: str, **_) -> str:
    return re.sub(r"^<!-- (\w+) -->$", lambda found: GENERATED[found[1]](), markdown, flags=re.MULTILINE)


def models() -> str:
    """Every model of a dataset, by task, with what is known about its weights."""
    from srzoo import list_models, model_info

    by_task: dict[str, list[str]] = {}
    for name in list_models():
        info = model_info(name)
        if info.dataset:
            height, width = info.input_size
            cells = (
                f"`{name}`",
                f"{info.parameters / 1e6:.2f} M",
                f"{info.macs / 1e9:.2f} G at {width}x{height}",
                _measured(info),
            )
            by_task.setdefault(info.task, []).append(_row(cells))
    head = _row(("model", "parameters", "multiply-adds", "weights")) + "\n|---|---|---|---|"
    return "\n\n".join(
        f"## {task.capitalize()} segmentation\n\n{head}\n" + "\n".join(rows) for task, rows in by_task.items()
    )


def _measured(info) -> str:
    if info.weights:
        splits = info.weights.by_split()
        figures = [
            f"{each['headline']} {each['figures'][each['headline']]:.1%} on {split}" for split, each in splits.items()
        ]
        return "; ".join(figures if "test" in splits else [*figures, "not yet measured on test"])
    return f"of {info.download.project}, downloaded" if info.download else "not trained yet"


def commands() -> str:
    """The help of every command."""
    from srzoo.cli import _COMMANDS

    names = [[name] for name in _COMMANDS if name != "data"] + [["data", "check"], ["data", "convert"]]
    return "\n\n".join(f"## srzoo {' '.join(name)}\n\n```text\n{_help(name)}\n```" for name in sorted(names))


def _help(command: list[str]) -> str:
    from srzoo.cli import main

    printed = io.StringIO()
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(printed):
        main([*command, "--help"])
    return printed.getvalue().strip()


def figures() -> str:
    """Every benchmark and every queue of trainings with its commands, and what it wrote."""
    scripts = sorted((ROOT / "bench").glob("*.py"))
    queues = sorted((ROOT / "bench" / "queues").glob("*.yaml"))
    written: dict[str, list[Path]] = {}
    for path in sorted((ROOT / "bench" / "results").iterdir()):
        stems = [each.stem for each in (*scripts, *queues) if f"{path.stem}_".startswith(f"{each.stem}_")]
        written.setdefault(max(stems, key=len, default=""), []).append(path)
    rows = []
    for path in scripts:
        source = path.read_text(encoding="utf-8")
        if '__name__ == "__main__"' in source:
            what, _, more = (ast.get_docstring(ast.parse(source)) or "").partition("\n")
            commands = re.findall(r"^ {4}((?:pip .* && )?python bench/.*)$", more, re.MULTILINE)
            rows.append((commands or [f"python bench/{path.name}"], what, path.stem))
    for path in queues:
        text = re.match("(?:#.*\n)*", path.read_text(encoding="utf-8"))[0].replace("# ", "").replace("\n", " ")
        command = f"python bench/train_many.py bench/queues/{path.name} --data.root PATH --out runs/{path.stem}"
        rows.append(([command], f"{text.partition('. ')[0].strip().rstrip('.')}.", path.stem))
    head = _row(("command", "measures", "results")) + "\n|---|---|---|\n"
    return head + "\n".join(
        _row(
            (
                "<br>".join(f"`{command}`".replace("|", "\\|") for command in commands),
                what.replace("[", "\\[").replace("|", "\\|"),
                ", ".join(map(_result, written.get(stem, []))) or "-",
            )
        )
        for commands, what, stem in rows
    )


def _result(path: Path) -> str:
    """A file of results, with the number of its rows."""
    if path.suffix != ".csv":
        return f"`{path.name}`"
    with path.open(newline="", encoding="utf-8") as file:
        return f"`{path.name}` ({sum(1 for _ in csv.DictReader(file))} rows)"


def _row(cells) -> str:
    return "| " + " | ".join(cells) + " |"


GENERATED = {"models": models, "commands": commands, "figures": figures}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", choices=GENERATED)
    print(GENERATED[parser.parse_args().name]())
