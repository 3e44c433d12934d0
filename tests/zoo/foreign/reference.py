"""detectron2's and mmdetection's detectors in plain PyTorch, by their own names and conventions, without srzoo."""

import math

import torch
from torch.nn import functional as F
from torchvision.ops import batched_nms, roi_align

RESNET_18 = (2, 2, 2, 2)


class Reference:
    """A detector of a state dict.

    Attributes:
        plus: 1 where a box's last pixel belongs to it, as in mmdetection 1, else 0.
        stride_in_1x1: a block reduces in its first convolution.
        stages: number of box heads, with the standard deviations of their deltas.
        average_logits: a cascade averages logits, else probabilities.
        background_last: the background is the last class.
    """

    plus = 0
    stride_in_1x1 = False
    average_logits = True
    background_last = True
    deviations = ((0.1, 0.1, 0.2, 0.2), (0.05, 0.05, 0.1, 0.1), (0.033, 0.033, 0.067, 0.067))

    def __init__(self, state, stages=1, mask_stages=1):
        self.state, self.stages, self.mask_stages = state, stages, mask_stages

    def conv(self, name, x, **options):
        weight = self.state[f"{name}.weight"]
        return F.conv2d(x, weight, self.state.get(f"{name}.bias"), groups=x.shape[1] // weight.shape[1], **options)

    def linear(self, name, x):
        return F.linear(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def conv_norm(self, name, x, **options):
        x, norm = self.conv(name, x, **options), self.norm_of(name)
        values = (self.state[f"{norm}.{key}"] for key in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *values, eps=1e-5)

    def resnet(self, x):
        x = F.max_pool2d(self.conv_norm(self.stem, x, stride=2, padding=3).relu(), 3, 2, 1)
        for i in range(4):
            j = 0
            while f"{self.block(i, j)}.conv1.weight" in self.state:
                name, stride = self.block(i, j), 2 if i and not j else 1
                first, second = (stride, 1) if self.stride_in_1x1 else (1, stride)
                if f"{name}.conv3.weight" in self.state:
                    y = self.conv_norm(f"{name}.conv1", x, stride=first).relu()
                    y = self.conv_norm(f"{name}.conv2", y, stride=second, padding=1).relu()
                    y = self.conv_norm(f"{name}.conv3", y)
                else:
                    y = self.conv_norm(f"{name}.conv1", x, stride=stride, padding=1).relu()
                    y = self.conv_norm(f"{name}.conv2", y, padding=1)
                if f"{name}.{self.shortcut}.weight" in self.state:
                    x = self.conv_norm(f"{name}.{self.shortcut}", x, stride=stride)
                x, j = (x + y).relu(), j + 1
            yield x

    def pyramid(self, x):
        laterals = [self.conv(self.lateral(i), c) for i, c in enumerate(self.resnet(x))]
        for i in (2, 1, 0):
            laterals[i] = laterals[i] + F.interpolate(laterals[i + 1], scale_factor=2, mode="nearest")
        levels = [self.conv(self.output(i), each, padding=1) for i, each in enumerate(laterals)]
        return [*levels, levels[3][:, :, ::2, ::2]]

    def base_anchors(self, stride):
        """The three anchors at the image's corner."""
        side = 8 * stride
        boxes = []
        for ratio in (0.5, 1, 2):
            height, width = side * math.sqrt(ratio), side / math.sqrt(ratio)
            centre = 0.5 * (stride - 1) if self.plus else 0.0
            dx, dy = (width - self.plus) / 2, (height - self.plus) / 2
            boxes.append([centre - dx, centre - dy, centre + dx, centre + dy])
        return torch.tensor(boxes).round() if self.plus else torch.tensor(boxes)

    def decode(self, deltas, boxes, size):
        sides = boxes[:, 2:] - boxes[:, :2] + self.plus
        centre = (boxes[:, :2] + boxes[:, 2:]) / 2 + deltas[:, :2] * sides
        half = sides * deltas[:, 2:].clamp(max=math.log(1000 / 16)).exp() / 2
        corners = torch.cat([centre - half + self.plus / 2, centre + half - self.plus / 2], 1)
        limits = torch.tensor([size[1], size[0]] * 2) - self.plus
        return corners.clamp(min=torch.zeros(4), max=limits)

    def continuous(self, boxes):
        return boxes + torch.tensor([0.0, 0, self.plus, self.plus])

    def proposals(self, levels, size):
        boxes, scores, numbers = [], [], []
        for i, level in enumerate(levels):
            hidden = self.conv(self.rpn[0], level, padding=1).relu()
            logits = self.conv(self.rpn[1], hidden)[0].permute(1, 2, 0).flatten().float()
            deltas = self.conv(self.rpn[2], hidden)[0].permute(1, 2, 0).reshape(-1, 4).float()
            rows, columns = level.shape[-2:]
            y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
            shifts = torch.stack([x, y, x, y], 2).reshape(-1, 1, 4) * 4 * 2**i
            anchors = (shifts + self.base_anchors(4 * 2**i)).reshape(-1, 4)
            best = logits.topk(min(1000, len(logits))).indices
            boxes.append(self.decode(deltas[best], anchors[best], size))
            scores.append(logits[best])
            numbers.append(torch.full_like(best, i))
        boxes, scores, numbers = map(torch.cat, (boxes, scores, numbers))
        full = (self.continuous(boxes)[:, 2:] - boxes[:, :2] > 0).all(1)
        boxes, scores, numbers = boxes[full], scores[full], numbers[full]
        return boxes[batched_nms(self.continuous(boxes), scores, numbers, 0.7)[:1000]]

    def pool(self, levels, boxes, cells):
        boxes = self.continuous(boxes)
        sides = boxes[:, 2:] - boxes[:, :2]
        level_of = torch.floor(torch.log2(sides.prod(1).sqrt() / 56 + 1e-6)).clamp(0, 3)
        rois = torch.cat([torch.zeros(len(boxes), 1), boxes], 1).to(levels[0].dtype)
        out = torch.zeros(len(boxes), levels[0].shape[1], cells, cells, dtype=levels[0].dtype)
        for i in range(4):
            chosen = level_of == i
            options = {"sampling_ratio": 2, "aligned": False} if self.plus else {"sampling_ratio": 0, "aligned": True}
            out[chosen] = roi_align(levels[i], rois[chosen], cells, 1 / 4 / 2**i, **options)
        return out

    def box_stage(self, levels, boxes, stage):
        first, second, classes, deltas = self.box(stage)
        x = self.linear(second, self.linear(first, self.pool(levels, boxes, 7).flatten(1)).relu()).relu()
        return self.linear(classes, x).float(), self.linear(deltas, x).float()

    def masks(self, levels, boxes, labels):
        pooled, total = self.pool(levels, boxes, 14), 0
        for stage in range(self.mask_stages):
            x, prefix = pooled, self.mask_prefix(stage)
            for i in range(self.mask_convs(prefix)):
                x = self.conv(self.mask_conv(prefix, i), x, padding=1).relu()
            up = f"{prefix}.{self.mask_up}"
            x = F.conv_transpose2d(x, self.state[f"{up}.weight"], self.state[f"{up}.bias"], 2).relu()
            own = labels if self.background_last else labels + 1
            total = total + self.conv(f"{prefix}.{self.mask_out}", x)[torch.arange(len(x)), own].sigmoid()
        return total / self.mask_stages

    def __call__(self, x):
        """Boxes, scores, labels from 0 on, and masks in the boxes, of one image ``(1, 3, H, W)``."""
        size = x.shape[-2:]
        levels = self.pyramid(x)
        boxes = self.proposals(levels, size)
        average = []
        for stage in range(self.stages):
            logits, deltas = self.box_stage(levels, boxes, stage)
            average.append(logits if self.average_logits else logits.softmax(1))
            deltas = deltas.reshape(len(boxes), -1, 4) * torch.tensor(self.deviations[stage])
            decoded = [self.decode(each, boxes, size) for each in deltas.unbind(1)]
            boxes = decoded[0]
        average = sum(average) / self.stages
        probabilities = average.softmax(1) if self.average_logits else average
        probabilities = probabilities[:, :-1] if self.background_last else probabilities[:, 1:]
        region, label = torch.where(probabilities > 0.05)
        skipped = 0 if self.background_last else 1  # boxes of the background
        decoded = torch.stack(decoded, 1)
        boxes = decoded[region, 0 if decoded.shape[1] == 1 else label + skipped]
        scores = probabilities[region, label]
        kept = batched_nms(self.continuous(boxes), scores, label, 0.5)[:100]
        boxes, scores, labels = boxes[kept], scores[kept], label[kept]
        return {"boxes": boxes, "scores": scores, "labels": labels, "masks": self.masks(levels, boxes, labels)}

    def semantic(self, x):
        """Logits at stride 4."""
        total = 0
        for i, level in enumerate(self.pyramid(x)[:4]):
            for j in range(max(i, 1)):
                conv, norm = self.semantic_names(i, j)
                level = self.conv(conv, level, padding=1)
                level = F.group_norm(level, 32, self.state[f"{norm}.weight"], self.state[f"{norm}.bias"]).relu()
                if i:
                    level = F.interpolate(level, scale_factor=2, mode="bilinear", align_corners=False)
            total = total + level
        return self.conv(self.semantic_out, total)


class Detectron2(Reference):
    average_logits = False
    deviations = tuple(tuple(1 / w for w in (10 * k, 10 * k, 5 * k, 5 * k)) for k in (1, 2, 3))
    stem, shortcut = "backbone.bottom_up.stem.conv1", "shortcut"
    rpn = tuple(f"proposal_generator.rpn_head.{name}" for name in ("conv", "objectness_logits", "anchor_deltas"))
    mask_up, mask_out, semantic_out = "deconv", "predictor", "sem_seg_head.predictor"

    def norm_of(self, name):
        return f"{name}.norm"

    def block(self, i, j):
        return f"backbone.bottom_up.res{i + 2}.{j}"

    def lateral(self, i):
        return f"backbone.fpn_lateral{i + 2}"

    def output(self, i):
        return f"backbone.fpn_output{i + 2}"

    def box(self, stage):
        number = f"{stage}." if self.stages > 1 else ""
        head, predictor = f"roi_heads.box_head.{number}", f"roi_heads.box_predictor.{number}"
        return f"{head}fc1", f"{head}fc2", f"{predictor}cls_score", f"{predictor}bbox_pred"

    def mask_prefix(self, stage):
        return "roi_heads.mask_head"

    def mask_conv(self, prefix, i):
        return f"{prefix}.mask_fcn{i + 1}"

    def mask_convs(self, prefix):
        return sum(key.startswith(f"{prefix}.mask_fcn") and key.endswith("weight") for key in self.state)

    def semantic_names(self, i, j):
        name = f"sem_seg_head.p{i + 2}.{2 * j}"
        return name, f"{name}.norm"


class Mmdet(Reference):
    stem, shortcut = "backbone.conv1", "downsample.0"
    rpn = ("rpn_head.rpn_conv", "rpn_head.rpn_cls", "rpn_head.rpn_reg")
    mask_up, mask_out, semantic_out = "upsample", "conv_logits", "semantic_head.conv_logits"
    heads = "roi_head."

    def norm_of(self, name):
        return name.replace("downsample.0", "downsample.1").replace("conv", "bn")

    def block(self, i, j):
        return f"backbone.layer{i + 1}.{j}"

    def lateral(self, i):
        return f"neck.lateral_convs.{i}.conv"

    def output(self, i):
        return f"neck.fpn_convs.{i}.conv"

    def box(self, stage):
        head = f"{self.heads}bbox_head." + (f"{stage}." if self.stages > 1 else "")
        return tuple(head + name for name in ("shared_fcs.0", "shared_fcs.1", "fc_cls", "fc_reg"))

    def mask_prefix(self, stage):
        return f"{self.heads}mask_head" + (f".{stage}" if self.mask_stages > 1 else "")

    def mask_conv(self, prefix, i):
        return f"{prefix}.convs.{i}.conv"

    def mask_convs(self, prefix):
        return sum(key.startswith(f"{prefix}.convs.") and key.endswith("weight") for key in self.state)

    def semantic_names(self, i, j):
        name = f"semantic_head.conv_upsample_layers.{i}.conv.{j}"
        return f"{name}.conv", f"{name}.gn"


class Mmdet1(Mmdet):
    plus = 1
    background_last = False
    heads = ""


def random_state(
    kind, classes, blocks=(3, 4, 6, 3), groups=1, width=64, stages=1, mask_stages=1, stuff=0, small=True, counters=True
):
    """A state dict with the names and shapes of a project.

    Args:
        kind: one of the classes above.
        classes: number of things.
        blocks: of the four stages of the backbone; ResNet-18's have two convolutions, others three.
        groups, width: of its 3x3 convolutions.
        stages, mask_stages: number of box heads and mask heads.
        stuff: number of stuff classes, for a semantic head; 0 for none.
        small: few channels behind the backbone.
        counters: norms count their batches, as those that are not frozen do.
    """
    names, state = kind({}, stages, mask_stages), {}
    channels, hidden = (32, 48) if small else (256, 1024)
    generator = torch.Generator().manual_seed(0)

    def add(name, *shape, gain=1.4, bias=True):
        fan_in = math.prod(shape[1:])
        state[f"{name}.weight"] = torch.randn(shape, generator=generator) * (gain / math.sqrt(fan_in))
        if bias:
            state[f"{name}.bias"] = torch.randn(shape[0], generator=generator) * 0.1

    def add_norm(name, count, gain=1.0):
        state[f"{name}.weight"] = gain * (0.5 + torch.rand(count, generator=generator))
        state[f"{name}.bias"] = 0.1 * torch.randn(count, generator=generator)
        state[f"{name}.running_mean"] = 0.1 * torch.randn(count, generator=generator)
        state[f"{name}.running_var"] = 0.5 + torch.rand(count, generator=generator)
        if counters:
            state[f"{name}.num_batches_tracked"] = torch.tensor(3)

    def add_conv_norm(name, *shape, gain=1.0):
        add(name, *shape, bias=False)
        add_norm(names.norm_of(name), shape[0], gain)

    add_conv_norm(names.stem, 64, 3, 7, 7)
    inputs = 64
    for i, count in enumerate(blocks):
        inner, outputs = width * 2**i, 64 * 2**i if blocks == RESNET_18 else 256 * 2**i
        for j in range(count):
            block = names.block(i, j)
            if blocks == RESNET_18:
                add_conv_norm(f"{block}.conv1", inner, inputs, 3, 3)
                add_conv_norm(f"{block}.conv2", inner, inner, 3, 3, gain=0.3)
            else:
                add_conv_norm(f"{block}.conv1", inner, inputs, 1, 1)
                add_conv_norm(f"{block}.conv2", inner, inner // groups, 3, 3)
                add_conv_norm(f"{block}.conv3", outputs, inner, 1, 1, gain=0.3)
            if inputs != outputs:
                add_conv_norm(f"{block}.{names.shortcut}", outputs, inputs, 1, 1)
            inputs = outputs
        add(names.lateral(i), channels, outputs, 1, 1, gain=0.1)
        add(names.output(i), channels, channels, 3, 3)
    for name, count, gain in zip(names.rpn, (channels, 3, 12), (1.4, 1.0, 0.02)):
        add(name, count, channels, *((3, 3) if count == channels else (1, 1)), gain=gain)
    per_class = classes + (not names.background_last)
    for stage in range(stages):
        first, second, scores, deltas = names.box(stage)
        add(first, hidden, channels * 49)
        add(second, hidden, hidden)
        add(scores, classes + 1, hidden, gain=8)
        state[f"{scores}.weight"] -= state[f"{scores}.weight"].mean(1, keepdim=True)  # regions of several classes
        add(deltas, 4 if stages > 1 else 4 * per_class, hidden, gain=0.3)
    for stage in range(mask_stages):
        prefix = names.mask_prefix(stage)
        for i in range(4):
            add(names.mask_conv(prefix, i), channels, channels, 3, 3)
        add(f"{prefix}.{names.mask_up}", channels, channels, 2, 2)
        add(f"{prefix}.{names.mask_out}", per_class, channels, 1, 1, gain=4)
    for i in range(4) if stuff else ():
        for j in range(max(i, 1)):
            conv, norm = names.semantic_names(i, j)
            add(conv, 64 if small else 128, 64 if j and small else 128 if j else channels, 3, 3, bias=False)
            state[f"{norm}.weight"] = 0.5 + torch.rand(64 if small else 128, generator=generator)
            state[f"{norm}.bias"] = torch.randn(64 if small else 128, generator=generator)
    if stuff:
        add(names.semantic_out, stuff + 1, 64 if small else 128, 1, 1)
    return state


def balanced(reference, x):
    """The state dict of a reference, with biases that give all classes the same mean logit on an image."""
    state = dict(reference.state)
    theirs = type(reference)(double(state), reference.stages, reference.mask_stages)
    levels = theirs.pyramid(x)
    boxes = theirs.proposals(levels, x.shape[-2:])
    for stage in range(reference.stages):
        logits, _ = theirs.box_stage(levels, boxes, stage)
        name = f"{theirs.box(stage)[2]}.bias"
        state[name] = state[name] - logits.mean(0)
    return state


def double(state):
    return {key: value.double() if value.is_floating_point() else value for key, value in state.items()}


def paired(found, wanted):
    """``found`` in the order of ``wanted``: rounding may swap detections of almost the same score."""
    assert len(found["labels"]) == len(wanted["labels"])
    keys = [torch.cat([each["boxes"].double(), 1e4 * each["labels"][:, None]], 1) for each in (found, wanted)]
    order = torch.cdist(keys[1], keys[0]).argmin(1)
    assert len(order.unique()) == len(order)
    return {key: found[key][order] for key in wanted}


def assert_same_detections(found, wanted, plus=0):
    """Detections of srzoo and of the reference in float64, whose weights differ by float32's rounding alone."""
    assert len(wanted["boxes"]) > 20, "the reference finds too little for a test"
    assert len(wanted["labels"].unique()) > 1
    found = paired(found, wanted)
    torch.testing.assert_close(found["scores"], wanted["scores"], atol=1e-5, rtol=0)
    assert torch.equal(found["labels"], wanted["labels"])
    theirs = wanted["boxes"] + torch.tensor([0.0, 0, plus, plus])
    torch.testing.assert_close(found["boxes"], theirs, atol=2e-3, rtol=0)
    torch.testing.assert_close(found["masks"].double(), wanted["masks"].double(), atol=1e-4, rtol=0)
    assert wanted["masks"].std() > 0.1
