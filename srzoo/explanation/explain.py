"""`explain`: the squeezed vector, the reasoned vector and the nodes of Squeeze Reasoning for an image."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import nn

from ..data.bands import as_picture, shown
from ..layers import SqueezeReasoning
from ..models.base import ZooModel, check_zoo_model, found_instead
from ..models.folding import FoldedBlock
from ..tasks.task import get_task, make_view
from .pictures import grid, heat, projected


@dataclass(eq=False, repr=False)
class Explanation:
    """What a Squeeze Reasoning block does with one image; ``R`` channels in ``K`` nodes of ``M`` (arXiv 2011.03308).

    Attributes:
        block: name of the block in the model.
        image: the image as upright RGB; of another number of channels, the picture that results show of it.
        x, y: ``(C, h, w)`` input and output of the block, float32 on the CPU.
        reduced: ``(R, h, w)``, the map ``T = W_t X`` of Eq. 7, whose channels the nodes hold.
        g: ``(K, M)``, the squeezed vector of Eq. 4.
        z: ``(K, M)``, the reasoned vector of Eq. 5 or 6, which multiplies ``T``.
    """

    block: str
    image: Image.Image
    x: torch.Tensor
    y: torch.Tensor
    reduced: torch.Tensor
    g: torch.Tensor
    z: torch.Tensor

    @property
    def moved(self) -> torch.Tensor:
        """``(K,)``: how far the reasoning moves each node, ``|z_k - g_k|`` as a share of the mean ``|g_k|``."""
        return (self.z - self.g).norm(dim=1) / self.g.norm(dim=1).mean().clamp_min(1e-12)

    @property
    def active(self) -> float:
        """Share of the channels of ``z`` that are not zero. Where it is 0, the block is the identity on this image."""
        return float((self.z != 0).float().mean())

    @property
    def change(self) -> float:
        """``|Y - X| / |X|``: how much the block changes the map."""
        return float((self.y - self.x).norm() / self.x.norm().clamp_min(1e-12))

    def salient(self) -> list[int]:
        """The most salient channel of each node, among the ``R``: that which adds most to the map, ``|z_r| |T_r|``.

        In a node whose ``z`` is zero, that with the largest ``|g_r|``.
        """
        nodes, width = self.g.shape
        added = self.z.abs() * self.reduced.flatten(1).norm(dim=1).view(nodes, width)
        chosen = torch.where(added.any(1, keepdim=True), added, self.g.abs()).argmax(1)
        return [k * width + int(i) for k, i in enumerate(chosen)]

    def activations(self) -> torch.Tensor:
        """``(K, h, w)``: the most salient channel of each node of the map ``T``."""
        return self.reduced[self.salient()]

    def nodes_picture(self, nodes: int = 8) -> Image.Image:
        """The most salient channel of the nodes that were moved most, each over the image (the paper's Fig. 5)."""
        order = self.moved.argsort(descending=True)[:nodes].tolist()
        maps, channels = self.activations(), self.salient()
        titles = [f"node {k}, channel {channels[k]}{'' if self.z[k].any() else ' (off)'}" for k in order]
        return grid([self.image, *(heat(self.image, maps[k]) for k in order)], ["image", *titles])

    def features_picture(self) -> Image.Image:
        """The input and the output of the block, projected to colours by one PCA of both (the paper's Fig. 6b)."""
        before, after = projected(self.x, self.y, self.image.size)
        return grid([self.image, before, after], ["image", "input of the block", "output of the block"])

    def __repr__(self) -> str:
        most = ", ".join(f"{k} ({self.moved[k]:.2f})" for k in self.moved.argsort(descending=True)[:3].tolist())
        off = "; z is zero, so the block is the identity" if not self.active else ""
        return (
            f"Explanation({self.block!r}: {len(self.g)} nodes of {self.g.shape[1]}, moved most: {most}; "
            f"{self.active:.0%} of z active, the map changes by {self.change:.1%}{off})"
        )

    def _repr_png_(self) -> bytes:
        """The picture of the nodes as a PNG file, which a notebook shows."""
        buffer = io.BytesIO()
        self.nodes_picture().save(buffer, "PNG")
        return buffer.getvalue()


def explain(model: nn.Module, image: Any, block: str | None = None) -> Explanation:
    """Explain what Squeeze Reasoning does with an image.

    Args:
        model: any of srzoo's models with the block, of any task, fused or not; or another network with `srzoo.insert`.
        image: as `srzoo.Segmenter` takes it; for another network the tensor ``(1, C, H, W)`` that it takes, of which
            the pictures show the first three channels, from their lowest to their highest value.
        block: name of the block within the model, for a model with several; default the first.

    Raises:
        ValueError: the model is not a module, has no such block, or did not use it; the image of another network is no
            such tensor.
        srzoo.images.ImageError: the image cannot be read.
    """
    name, place, part = _block_of(model, block)
    if isinstance(model, ZooModel):
        check_zoo_model(model, "explain")
        picture = as_picture(image, model.config.transform.channels)
        task = get_task(model.task)
        view = make_view(task, {}, config=model.config)
        seen = _input_of(place, model, lambda: task.predict(model, picture, view, brief=True))
        picture = shown(picture)
    else:
        picture = _picture_of(image)
        seen = _input_of(place, model, lambda: model(image))
    if seen is None:
        raise ValueError(f"the model did not use its block {name!r} on this image")
    with torch.inference_mode():
        return _explained(name, part, picture, seen[:1])


def _input_of(place: nn.Module, model: nn.Module, run: Callable[[], Any]) -> torch.Tensor | None:
    """What a module receives in a run of the model in evaluation mode, at its first call; None if it is not called."""
    seen: list[torch.Tensor] = []
    hook = place.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    training = [module for module in model.modules() if module.training]
    try:
        model.eval()
        with torch.inference_mode():
            run()
    finally:
        hook.remove()
        for module in training:
            module.training = True
    return seen[0] if seen else None


def _picture_of(image: Any) -> Image.Image:
    """A picture of another network's input.

    Raises:
        ValueError: it is not a tensor ``(1, C, H, W)``.
    """
    if not isinstance(image, torch.Tensor) or image.dim() != 4 or len(image) != 1:
        found = tuple(image.shape) if isinstance(image, torch.Tensor) else type(image).__name__
        raise ValueError(
            f"for a network that is not srzoo's, image must be its input, a tensor (1, C, H, W), got {found}; pass "
            "a model of srzoo's without a wrapper"
        )
    values = image[0, : 3 if image.shape[1] >= 3 else 1].detach().float().cpu()
    values = (values - values.min()) / (values.max() - values.min()).clamp_min(1e-12)
    pixels = (values.nan_to_num() * 255).byte().expand(3, -1, -1).permute(1, 2, 0)
    return Image.fromarray(pixels.contiguous().numpy())


def _explained(name: str, block: SqueezeReasoning, image: Image.Image, x: torch.Tensor) -> Explanation:
    reduced, g = block.transform(x), block.squeeze_vector(x)
    z = block.reasoned(g)
    y = x + block.project(reduced * z[:, :, None, None].to(x.dtype))  # Eq. 7
    x, y, reduced = (each[0].float().cpu() for each in (x, y, reduced))
    g, z = (each[0].float().cpu().unflatten(0, (block.nodes, -1)) for each in (g, z))
    return Explanation(name, image, x, y, reduced, g, z)


def _block_of(model: nn.Module, wanted: str | None) -> tuple[str, nn.Module, SqueezeReasoning]:
    """The name of a block, the module that receives its input, and the block.

    Raises:
        ValueError: the model is not a module, or has no such block.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"explain takes a model, got {found_instead(model)}")
    title = getattr(getattr(model, "config", None), "name", None) or type(model).__name__
    folded = {id(part.block): part for part in model.modules() if isinstance(part, FoldedBlock)}
    found = {name: part for name, part in model.named_modules() if isinstance(part, SqueezeReasoning)}
    if not found:
        raise ValueError(f"{title} has no block of context='sr', which explain reads; build it with one, or insert one")
    if wanted is not None and wanted not in found:
        raise ValueError(f"{title} has no block {wanted!r}, only {', '.join(found)}")
    name = next(iter(found)) if wanted is None else wanted
    return name, folded.get(id(found[name]), found[name]), found[name]
