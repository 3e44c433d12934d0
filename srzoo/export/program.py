"""Models as programs of ``torch.export``, without srzoo's operators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from srzoo_kernels import decompositions

from ..files import replacing
from ..messages import one_line
from .network import ExportedNetwork, form_of


def export_program(model: nn.Module, path: str | Path | None = None, **form: Any) -> ExportedNetwork:
    """Export a model as a program that ``torch.export.load`` reads where srzoo is not installed.

    Args:
        model: from `create_model` or `load_model`. A detector is exported without its choice of boxes, see
            `srzoo.export.network.outputs_of`.
        path: a ``.pt2`` file to write; None for none. What the model is lies beside the program, as text.
        **form: fields of `srzoo.export.network.Form`.

    Returns:
        What was exported, with its metadata and its ``program``.

    Raises:
        ValueError: the model is not one of srzoo's, or an unknown or invalid option.
        OSError: the file cannot be written.
    """
    network = ExportedNetwork(model, form_of(form, "export_program"))
    if path is None:
        network.program = program_of(network)
        return network
    with replacing(path) as temporary:  # at first, since the export takes a while
        network.program = program_of(network)
        torch.export.save(network.program, temporary, extra_files=network.metadata)
    return network


def program_of(network: ExportedNetwork) -> torch.export.ExportedProgram:
    """The program of a network, in PyTorch's own operators.

    Where a network does not take every size, the sides must be multiples of its ``input_multiple``.

    Raises:
        ValueError: it takes one size alone.
    """
    network.eval()
    multiples = [1, network.model.input_multiple] if network.form.size is None else [1]
    with torch.no_grad():
        for multiple in multiples:
            dims = network.dynamic_shapes(multiple)
            try:
                program = torch.export.export(network, (network.example(),), dynamic_shapes=(dims,) if dims else None)
            except torch._dynamo.exc.UserError as error:  # the size decides what the network does
                reason = error
                continue
            if multiple > 1:
                network.metadata["sides_are_multiples_of"] = str(multiple)
            return program.run_decompositions(decompositions())
    raise ValueError(
        f"{network.config.name} cannot be exported for images of any size ({one_line(reason)}); give one with "
        "size=(H, W), or --size HxW"
    ) from reason
