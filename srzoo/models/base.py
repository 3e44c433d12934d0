"""Base class of every model of the zoo."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import nn

from srzoo_kernels import NonFiniteError

from ..labels import LabelSet
from ..labels.own import labels_of
from ..layers.leaf import NotScriptable, refuse_tracing
from ..layers.meta import on_meta
from ..messages import shortened
from .cost import multiply_adds

_BEYOND = 4  # times the largest value of normalized images: more than any augmentation adds


class ZooModel(NotScriptable, nn.Module):
    """A network with the configuration that is needed to use it and to build it again.

    `srzoo.create_model` passes ``num_classes``, ``backbone``, ``things`` where the class has this argument, and options
    of its own, as keyword arguments. Training expects a module ``self.backbone``, and ImageNet weights a
    `srzoo.backbones.FeatureBackbone` there.

    Attributes:
        task: name of its task, a key of `srzoo.tasks.task.TASKS`.
        config: its `srzoo.zoo.config.ModelConfig`, set by `configure`; None for a network built from its class.
        in_channels: number of channels of the image.
        input_multiple: height and width of the input should be multiples of this number of pixels, so that the feature
            maps inside the network are aligned.
    """

    task: ClassVar[str]
    input_multiple: int
    in_channels: int = 3

    def __init__(self):
        super().__init__()
        self.config: Any = None

    def configure(self, config: Any) -> None:
        """Set ``self.config`` to a `ModelConfig`, with `input_multiple` as the multiple of its transform."""
        transform = dataclasses.replace(config.transform, multiple=self.input_multiple)
        self.config = dataclasses.replace(config, transform=transform)

    def reconfigure(
        self, labels: LabelSet | None = None, transform: Any = None, thresholds: Mapping[str, float] | None = None
    ) -> None:
        """Replace parts of the configuration, in place.

        Args:
            labels: new names and colours for the same number of classes; of a panoptic model, with the same things.
            transform: a new `srzoo.zoo.transform.Transform`. Its multiple is replaced by `input_multiple`.
            thresholds: of a detector, those that suit its weights, such as ``{"score": 0.6}``; of a panoptic model
                also ``overlap`` and ``stuff_area``. They are saved with the model, and replace the defaults of
                `srzoo.Segmenter`, ``srzoo segment`` and ``srzoo eval``; those that are left out have the defaults.

        Raises:
            ValueError: the labels have another number of classes or, of a panoptic model, other things; a
                threshold is invalid; or the model has no configuration.
        """
        check_zoo_model(self, "reconfigure")
        changes: dict[str, Any] = {} if transform is None else {"transform": transform}
        if labels is not None:
            own, given = len(self.config.classes), len(labels.classes)
            if given != own:
                raise ValueError(
                    f"the model has {own} classes, the labels have {given}; build it with num_classes={given}"
                )
            self._check_labels(labels)
            changes["labels"] = labels
        config = self.config if thresholds is None else self.config.with_thresholds(thresholds)
        self.configure(dataclasses.replace(config, **changes))

    def _check_labels(self, labels: LabelSet) -> None:
        """Check that the network as it is can have these labels, whose number is right.

        Raises:
            ValueError: it cannot.
        """

    def reset_classifier(
        self,
        num_classes: int | None = None,
        classes: Sequence[str] | None = None,
        palette: Sequence | None = None,
        labels: LabelSet | None = None,
        things: Sequence[bool] | None = None,
    ) -> None:
        """Replace what depends on the classes by new layers with random weights for other classes, in place.

        These are the classifiers; in a detector also the last layers of the boxes and masks, which are per class.

        Args:
            num_classes: number of classes.
            classes: their names in order of id, instead of the number.
            palette: a colour for each of ``classes``, ``(r, g, b)`` or ``"#rrggbb"``.
            labels: names, colours and things, instead of all of these.
            things: whether each class is of countable objects, which a panoptic model needs to know.

        Raises:
            ValueError: the arguments are invalid, or too few for the task.
        """
        check_zoo_model(self, "reset_classifier")
        if labels is not None and not (num_classes is classes is palette is things is None):
            raise ValueError("labels name the classes, their colours and which are things; leave the others out")
        check_labels(labels)
        labels = labels or labels_of(classes, palette, num_classes, things)
        if labels is None:
            raise ValueError("reset_classifier needs num_classes, or classes, their names")
        self._replace_classifiers(labels)
        self.configure(dataclasses.replace(self.config, labels=labels, thresholds={}))

    def _replace_classifiers(self, labels: LabelSet) -> None:
        """`reset_classifier` of the network alone.

        Raises:
            ValueError: it cannot have these classes. Nothing is changed then.
        """
        raise NotImplementedError(f"{type(self).__name__} has no classifiers to replace")

    def reorder_classes(self, labels: LabelSet) -> None:
        """Give the classes another order, in place: the outputs for each name stay as they are.

        Args:
            labels: the names of the model's classes in their new order; of a panoptic model, with the same things.

        Raises:
            ValueError: a name or, of a panoptic model, a thing is another.
        """
        check_zoo_model(self, "reorder_classes")
        own = self.config.labels
        order = labels.order_in(own)
        if order is None:
            raise ValueError(
                f"the labels have the classes {shortened(labels.classes)}, expected those of the model in some order, "
                f"{shortened(own.classes)}; reset_classifier is for other classes"
            )
        self._reorder_classifiers(order, labels)
        self.configure(dataclasses.replace(self.config, labels=labels))

    def _reorder_classifiers(self, order: Sequence[int], labels: LabelSet) -> None:
        """`reorder_classes` of the network alone; ``order`` has the present id of each class of ``labels``.

        Raises:
            ValueError: it cannot have these labels. Nothing is changed then.
        """
        raise NotImplementedError(f"{type(self).__name__} has no classifiers to reorder")

    def pretrained_parameters(self) -> list[nn.Parameter]:
        """The parameters that a pretrained backbone brings, which are trained at a lower rate."""
        return list(self.backbone.parameters())

    def cost(self, input_size: tuple[int, int]) -> int:
        """Multiply-adds of a forward pass in evaluation mode, counted on the meta device.

        A network whose work depends on the content of the image, such as a detector, overrides this with a count for a
        fixed number of proposals.

        Args:
            input_size: ``(H, W)`` of one image in pixels.
        """
        twin = on_meta(self).eval()
        with torch.device("meta"):
            image = torch.empty(1, self.in_channels, *input_size, dtype=next(twin.parameters()).dtype)
            return multiply_adds(lambda: twin(image))


@torch.no_grad()
def take_rows(layer: nn.Linear | nn.Conv2d, rows: Sequence[int]) -> None:
    """Give a layer the outputs ``rows`` of its own, in this order, in place."""
    for value in layer.parameters(recurse=False):
        value.copy_(value[list(rows)])


def check_zoo_model(model: object, caller: str, configured: bool = True) -> None:
    """Check that a model is one of srzoo's.

    Args:
        model: what was given.
        caller: name of the calling function, for the message.
        configured: also require a config. Every model from `create_model` or `load_model` has one.

    Raises:
        ValueError: it is another object, e.g. a wrapper around a model, or has no config.
    """
    if isinstance(model, ZooModel) and (model.config is not None or not configured):
        return
    raise ValueError(f"{caller} takes a model from create_model or load_model, got {found_instead(model)}")


def found_instead(model: object) -> str:
    """What was given in place of a model, and what to do, for an error message."""
    if isinstance(model, (str, os.PathLike)):
        return (
            f"the {type(model).__name__} {shortened(str(model))}; create_model(NAME, pretrained=True) makes one, and "
            "load_model(FILE) reads one"
        )
    for name in ("model", "module"):  # of a Segmenter, a TrainedRun; of DataParallel and other wrappers
        if isinstance(getattr(model, name, None), ZooModel):
            return f"{type(model).__name__}; pass its .{name}"
    without = " without a config" if isinstance(model, ZooModel) else ""
    return f"{type(model).__name__}{without}; pass such a model without a wrapper"


def check_dtype(dtype: object) -> None:
    """Check that an argument ``dtype`` is one that weights can have, or None.

    Raises:
        ValueError: it is something else. Integers would round the weights away, and PyTorch has too few operators for 8
            bits.
    """
    if dtype is not None and dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        raise ValueError(f"dtype={shortened(dtype)}: expected torch.float16, bfloat16, float32 or float64")


def check_labels(labels: object) -> None:
    """Check that an argument ``labels`` is a `LabelSet` or None.

    Raises:
        ValueError: it is something else, such as a list of names.
    """
    if not isinstance(labels, LabelSet | None):
        raise ValueError(f"labels must be a LabelSet, got {shortened(labels)}; pass names as classes=")


def check_results(**results: torch.Tensor) -> None:
    """Check that what a model gives is finite: weights that are finite, but too large, can overflow on an image.

    Args:
        **results: floating tensors by name.

    Raises:
        NonFiniteError: one holds NaN or infinity.
    """
    for name, value in results.items():
        # A sum is quicker, and needs no memory. It can overflow for finite values, so it alone does not decide.
        if not value.sum().isfinite() and not value.isfinite().all():
            cause = (
                "float16 ends at 65504; pass precision='float32' or 'bfloat16'"
                if value.dtype == torch.float16
                else "its weights are too large; use a file from before its training diverged"
            )
            raise NonFiniteError(
                f"the model's {name} are not finite on this image, so its result would be meaningless: {cause}"
            )


def check_image_batch(x: torch.Tensor, channels: int = 3) -> None:
    """Check the input of a network.

    Raises:
        ValueError: ``x`` is not a tensor ``(N, channels, H, W)``, not floating, empty, or has a side below 32 pixels.
        TypeError: ``torch.fx`` is tracing.
    """
    refuse_tracing(x)
    if not isinstance(x, torch.Tensor) or x.dim() != 4 or x.shape[1] != channels:
        got = tuple(x.shape) if isinstance(x, torch.Tensor) else f"a {type(x).__name__}"
        raise ValueError(
            f"expected a batch of images, a tensor of shape (N, {channels}, H, W), got {got}; "
            "srzoo.Segmenter(model) takes images, and lists of them"
        )
    if not x.is_floating_point():
        raise ValueError(
            f"expected images in floating point, got {x.dtype}; convert them with model.config.transform.normalize(x)"
        )
    if x.shape[0] == 0:
        raise ValueError(f"expected at least one image, got a batch of shape {tuple(x.shape)}")
    if min(x.shape[-2:]) < 32:
        raise ValueError(f"expected height and width of at least 32, got {tuple(x.shape[-2:])}; resize the image first")


def check_normalized(x: torch.Tensor, transform: Any) -> None:
    """Check that no value of a batch is far beyond those of normalized images, such as 255.

    Args:
        x: the input of a network.
        transform: its `srzoo.zoo.transform.Transform`.

    Raises:
        ValueError: there is one. Infinity passes, as what is not finite is told by itself.
    """
    if torch.compiler.is_compiling() or x.is_meta:
        return
    largest = torch.stack(x.detach().aminmax()).abs().max().item()
    usual = max(max(mean, 1 - mean) / std for mean, std in zip(transform.mean, transform.std))
    if _BEYOND * usual < largest < float("inf"):
        raise ValueError(
            f"images have values up to {largest:g}, normalized ones are within {usual:.3g}; pass "
            "model.config.transform.normalize(images) of 8-bit images, or give the model the transform of other "
            "images by model.reconfigure(transform=...)"
        )
