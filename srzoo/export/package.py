"""Models as AOTInductor packages: compiled code that runs without srzoo, and without Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..files import replacing
from ..models.devices import resolve_device
from .network import ExportedNetwork, form_of
from .program import program_of


def export_package(model: nn.Module, path: str | Path, device: str = "cpu", **form: Any) -> ExportedNetwork:
    """Compile a model ahead of time; ``torch._inductor.aoti_load_package`` or C++ run the file.

    The compiled code takes contiguous images of the form's dtype, size and batch. It reads others wrongly, or beyond
    their end, without an error, unless ``AOTI_RUNTIME_CHECK_INPUTS=1`` is in the environment: call ``.contiguous()`` on
    a permuted image first.

    Args:
        model: as for `srzoo.export.program.export_program`.
        path: the ``.pt2`` file to write.
        device: that the code is for, of this machine's kind: "cpu", or "cuda".
        **form: fields of `srzoo.export.network.Form`.

    Returns:
        What was exported, with its metadata.

    Raises:
        ValueError: the model is not one of srzoo's, an unknown or invalid option, or a device that is not available.
        RuntimeError: there is no C++ compiler.
        OSError: the file cannot be written.
    """
    place = resolve_device(device)
    network = ExportedNetwork(model, form_of(form, "export_package", "device")).to(place)
    with replacing(path) as temporary, torch.no_grad():  # at first, since the export takes a while
        program = program_of(network)
        try:
            torch._inductor.aoti_compile_and_package(
                program,
                package_path=str(temporary),
                inductor_configs={"aot_inductor.metadata": network.metadata},
            )
        except RuntimeError as error:
            from torch._inductor.exc import InvalidCxxCompiler  # here, as it imports all of Inductor

            if not isinstance(getattr(error, "inner_exception", error), InvalidCxxCompiler):
                raise
            raise RuntimeError(
                "an AOTInductor package needs a C++ compiler, and PyTorch finds none that works: install g++, or name "
                "one in the environment variable CXX"
            ) from error
    return network
