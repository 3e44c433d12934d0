"""The page: an image in, the overlay with its legend out. gradio serves it."""

from __future__ import annotations

import html
import os
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import gradio

from ..messages import one_line
from ..predict import Segmenter
from ..tasks.task import Result

if TYPE_CHECKING:
    from gradio.data_classes import ImageData

_MODELS_KEPT = 2
_TILES = {"whole image": None, "tiles of 512": 512, "tiles of 1024": 1024}
_OPACITY = 0.5
# No font of another host.
_THEME = gradio.themes.Default(font=("system-ui", "sans-serif"), font_mono=("ui-monospace", "monospace"))


def make_page(models: Sequence[str], examples: Sequence[str | Path] = (), device: str = "auto") -> gradio.Blocks:
    """The page, which ``launch()`` serves.

    Args:
        models: names and files that `Segmenter` takes, the first of which is chosen at the start.
        examples: image files to try.
        device: of the models.

    Returns:
        The page. It sends nothing to another host.
    """
    find = lru_cache(maxsize=_MODELS_KEPT)(lambda model, tile: Segmenter(model, device, tile))

    def segment(image: str | None, model: str, tiles: str, opacity: float):
        if image is None:
            return None, None, "", None
        try:
            result = find(model, _TILES[tiles])(image)
        except (ValueError, OSError, RuntimeError, ImportError) as error:
            # By the name that the user knows: gradio keeps uploads in folders of its own.
            line = one_line(error).replace(f"{Path(image).parent}{os.sep}", "")
            raise gradio.Error(line, print_exception=False) from error
        return result, result.overlay(opacity), legend(result), _files(result)

    def redraw(result: Result | None, opacity: float):
        return None if result is None else result.overlay(opacity)

    with gradio.Blocks(title="srzoo", analytics_enabled=False) as page:
        gradio.Markdown("# srzoo\nScene understanding with Squeeze Reasoning. Drop an image.")
        kept = gradio.State()
        with gradio.Row():
            with gradio.Column():
                image = gradio.Image(type="filepath", label="Image", sources=["upload", "clipboard", "webcam"])
                # Else gradio opens the file with Pillow, without srzoo's limits, formats and errors. Not by a class
                # of its own, for which gradio writes a .pyi file into the package.
                image.preprocess = _path
                model = gradio.Dropdown(list(models), value=models[0], label="Model")
                tiles = gradio.Radio(list(_TILES), value="whole image", label="Large images (semantic models)")
                if examples:
                    gradio.Examples([[str(path)] for path in examples], [image], cache_examples=False)
            with gradio.Column():
                overlay = gradio.Image(label="Result", interactive=False, format="png")
                opacity = gradio.Slider(0, 1, _OPACITY, step=0.05, label="Opacity of the overlay")
                found = gradio.HTML(label="Found")
                files = gradio.Files(label="Labels and overlay")
        chosen, shown = [image, model, tiles, opacity], [kept, overlay, found, files]
        for control in (image, model, tiles):
            control.change(segment, chosen, shown, show_progress_on=[overlay])
        opacity.change(redraw, [kept, opacity], [overlay], show_progress="hidden")
    return page


def serve(page: gradio.Blocks, host: str, port: int) -> str:
    """Begin to serve the page, and return its address. ``page.block_thread()`` waits until the user ends it.

    Raises:
        OSError: the port is not free.
    """
    try:
        served = page.queue().launch(
            server_name=host,
            server_port=port,
            theme=_THEME,
            prevent_thread_lock=True,
            quiet=True,
            share=False,
            footer_links=[],
            ssr_mode=False,  # which would need Node.js
        )
    except OSError as error:
        raise OSError(f"cannot serve at {host}:{port}, which may be in use; choose another with --port") from error
    return served[1]


def _path(image: ImageData | None) -> str | None:
    return image and image.path


def legend(result: Result) -> str:
    """The lines that a result prints, as HTML with their colours."""
    rows = (
        f'<tr><td style="background:rgb{line.colour};width:2em">&nbsp;</td>'
        f"<td>{html.escape(line.name)}</td><td>{html.escape(line.value)}</td></tr>"
        for line in result.found()
    )
    return f"<table>{''.join(rows) or '<tr><td>nothing found</td></tr>'}</table>"


def _files(result: Result) -> list[str]:
    """The files of a result, in a new folder below gradio's own."""
    return [str(path) for path in result.save(Path(tempfile.mkdtemp(prefix="srzoo-")) / "image")]
