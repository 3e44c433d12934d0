"""The authors' network in plain PyTorch, with their names. Converted models are compared with it."""

import torch
from torch import nn
from torch.nn import functional as F


def conv_bn(in_channels: int, out_channels: int, kernel: int, **options) -> list[nn.Module]:
    padding = options.get("dilation", 1) * (kernel // 2)
    conv = nn.Conv2d(in_channels, out_channels, kernel, padding=padding, bias=False, **options)
    return [conv, nn.BatchNorm2d(out_channels)]


class Bottleneck(nn.Module):
    def __init__(self, in_channels: int, width: int, stride: int, dilation: int):
        super().__init__()
        self.conv1, self.bn1 = conv_bn(in_channels, width, 1)
        self.conv2, self.bn2 = conv_bn(width, width, 3, stride=stride, dilation=dilation)
        self.conv3, self.bn3 = conv_bn(width, 4 * width, 1)
        changes = in_channels != 4 * width or stride > 1
        self.downsample = nn.Sequential(*conv_bn(in_channels, 4 * width, 1, stride=stride)) if changes else None

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


def stage(in_channels: int, width: int, blocks: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    first = Bottleneck(in_channels, width, stride, dilation)
    return nn.Sequential(first, *(Bottleneck(4 * width, width, 1, dilation) for _ in range(blocks - 1)))


def stem() -> nn.Sequential:
    first, second = conv_bn(3, 64, 3, stride=2), conv_bn(64, 64, 3)
    return nn.Sequential(*first, nn.ReLU(), *second, nn.ReLU(), nn.Conv2d(64, 128, 3, padding=1, bias=False))


def depths(layers: int) -> tuple[int, int, int, int]:
    return 3, 4, {50: 6, 101: 23}[layers], 3


class DeepStemResNet(nn.Module):
    """The ImageNet classifier that they start from, with stride 32."""

    def __init__(self, layers: int):
        super().__init__()
        counts = depths(layers)
        self.conv1, self.bn1 = stem(), nn.BatchNorm2d(128)
        self.layer1, self.layer2 = stage(128, 64, counts[0]), stage(256, 128, counts[1], 2)
        self.layer3, self.layer4 = stage(512, 256, counts[2], 2), stage(1024, 512, counts[3], 2)
        self.fc = nn.Linear(2048, 1000)

    def features(self, x):
        x = F.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


class Block(nn.Module):
    def __init__(self, channels: int, nodes: int):
        super().__init__()
        reduced, self.nodes = channels // 2, nodes
        self.t, self.p, self.g = (nn.Conv2d(channels, reduced, 1, bias=False) for _ in range(3))
        self.z = nn.Conv2d(reduced, channels, 1, groups=reduced, bias=False)
        self.gn = nn.GroupNorm(reduced, channels)
        self.conv_adj, self.bn_adj = nn.Conv1d(nodes, nodes, 1, bias=False), nn.BatchNorm1d(nodes)
        self.conv_wg = nn.Conv1d(reduced // nodes, reduced // nodes, 1, bias=False)
        self.bn_wg = nn.BatchNorm1d(reduced // nodes)

    def forward(self, x):
        squeezed = (self.p(x) * self.g(x)).sum((2, 3))  # (N, R)
        g = torch.stack(squeezed.split(self.nodes, 1), 2)  # (N, k, d)
        mixed = torch.relu(self.bn_adj(self.conv_adj(g))) + g
        reasoned = torch.relu(self.bn_wg(self.conv_wg(mixed.transpose(1, 2)))).transpose(1, 2)
        return self.gn(self.z(self.t(x) * reasoned.flatten(1)[:, :, None, None])) + x


def classifying(in_channels: int, width: int, classes: int) -> nn.Sequential:
    conv, norm = nn.Conv2d(in_channels, width, 3, padding=1), nn.BatchNorm2d(width)
    return nn.Sequential(conv, norm, nn.ReLU(), nn.Dropout2d(0.1), nn.Conv2d(width, classes, 1))


class Head(nn.Module):
    def __init__(self, classes: int):
        super().__init__()
        self.module, self.in_module = Block(512, 32), nn.Conv2d(2048, 512, 1)
        self.final = classifying(512, 512, classes)

    def forward(self, x):
        return self.final(self.module(self.in_module(x)))


class ReleasedSRNet(nn.Module):
    """SRNet with stride 8: dilation 2 and 4 in all blocks of the last two stages."""

    def __init__(self, layers: int, classes: int):
        super().__init__()
        counts = depths(layers)
        self.layer0 = nn.Sequential(stem(), nn.BatchNorm2d(128), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        self.layer1, self.layer2 = stage(128, 64, counts[0]), stage(256, 128, counts[1], 2)
        self.layer3, self.layer4 = stage(512, 256, counts[2], 1, 2), stage(1024, 512, counts[3], 1, 4)
        self.head = Head(classes)
        self.aux_layer = nn.ModuleDict({"aux": classifying(1024, 256, classes)})

    def forward(self, x):
        """The logits and the auxiliary logits, both of the size of ``x``."""
        third = self.layer3(self.layer2(self.layer1(self.layer0(x))))
        both = self.head(self.layer4(third)), self.aux_layer["aux"](third)
        return [F.interpolate(y, x.shape[-2:], mode="bilinear", align_corners=True) for y in both]


def trained(build: type[nn.Module], *arguments: int) -> nn.Module:
    """A network with random statistics, scales and biases, as after training."""
    torch.manual_seed(0)
    with torch.device("meta"):
        model = build(*arguments)
    model.to_empty(device="cpu")  # without PyTorch's slow initialization
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm)):
            nn.init.uniform_(module.weight, 0.5, 1.5)
        elif hasattr(module, "weight"):
            nn.init.kaiming_uniform_(module.weight)
        if getattr(module, "bias", None) is not None:
            nn.init.normal_(module.bias, std=0.3)
        if hasattr(module, "running_var"):
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.constant_(module.num_batches_tracked, 100)
    return model.eval()
