"""Models as programs of ``torch.export``, without srzoo's operators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from srzoo_kernels import decompositions

from ..files import replacing
from .network import ExportedNetwork, Form


def export_program(model: nn.Module, path: str | Path | None = None, **form: Any) -> torch.export.ExportedProgram:
    """Export a model as a program that ``torch.export.load`` reads where srzoo is not installed.

    Args:
        model: from `create_model` or `load_model`. A detector is exported without its choice of boxes, see
            `srzoo.export.network.outputs_of`.
        path: a ``.pt2`` file to write; None for none. What the model is lies beside the program, as text.
        **form: fields of `srzoo.export.network.Form`.

    Returns:
        The program. Its parameters are the fused model's.

    Raises:
        ValueError: the model is not one of srzoo's, or an invalid form.
        OSError: the file cannot be written.
    """
    network = ExportedNetwork(model, Form(**form))
    program = program_of(network)
    if path is not None:
        with replacing(path) as temporary:
            torch.export.save(program, temporary, extra_files=network.metadata)
    return program


def program_of(network: ExportedNetwork) -> torch.export.ExportedProgram:
    """The program of a network, in PyTorch's own operators."""
    shapes = network.dynamic_shapes() or None
    with torch.no_grad():
        program = torch.export.export(network.eval(), (network.example(),), dynamic_shapes=shapes and (shapes,))
        return program.run_decompositions(decompositions())
