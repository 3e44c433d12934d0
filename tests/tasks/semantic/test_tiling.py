from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn
from torch.nn import functional as F

import srzoo
from srzoo import Segmenter
from srzoo.layers import ReleasedSqueezeReasoning, SqueezeReasoning
from srzoo.tasks.semantic.tiling import ImagePixels, tile_logits, tile_spans, whole_logits, window_logits, window_spans
from srzoo.zoo.transform import Transform

CONTEXTS = {
    "hadamard": lambda: SqueezeReasoning(16, nodes=4),
    "average": lambda: SqueezeReasoning(16, nodes=4, squeeze="average"),
    "attention": lambda: SqueezeReasoning(16, nodes=4, reasoning="attention"),
    "none": lambda: SqueezeReasoning(16, nodes=4, reasoning="none"),
    "released": lambda: ReleasedSqueezeReasoning(16, nodes=4),
}


class Patches(nn.Module):
    """Features of patches that do not overlap, and a block: without a halo only its squeeze depends on the tiles."""

    output_stride = logits_stride = 4

    def __init__(self, context: nn.Module):
        super().__init__()
        self.embed = nn.Conv2d(3, 16, 4, stride=4)
        self.head = nn.ModuleDict({"context": context})
        self.classifier = nn.Conv2d(16, 5, 1)
        self.config = SimpleNamespace(name="patches", transform=Transform(64, multiple=4))
        for parameter in context.parameters():
            nn.init.normal_(parameter)

    def context_input(self, x):
        return F.relu(self.embed(x))

    def forward(self, x, upsample=False):
        return self.classifier(self.head["context"](self.context_input(x)))


@pytest.fixture
def pixels():
    """A gradient from dark to light, so that no two tiles have the same statistics."""
    generator = torch.Generator().manual_seed(0)
    light = torch.linspace(0, 200, 212)[None, :] * torch.linspace(0.1, 1, 140)[:, None]
    return (light + 55 * torch.rand(3, 140, 212, generator=generator)).to(torch.uint8)[None]


def naive(model, pixels, tile):
    """Tiles without a halo, each with its own squeeze."""
    spans = [tile_spans(length, tile, 0, model.output_stride) for length in pixels.shape[2:]]
    rows = [[whole_logits(model, pixels[:, :, r.start : r.stop, c.start : c.stop]) for c in spans[1]] for r in spans[0]]
    return torch.cat([torch.cat(row, 3) for row in rows], 2)


@pytest.mark.parametrize("context", CONTEXTS)
@torch.inference_mode()
def test_tiles_have_the_squeeze_of_the_whole_image(context, pixels):
    torch.manual_seed(1)
    model = Patches(CONTEXTS[context]()).eval()
    whole = whole_logits(model, pixels)
    for halo in (0, 12):
        assert (tile_logits(model, pixels, 64, halo) - whole).abs().max() < 1e-5 * whole.abs().max()
    assert (naive(model, pixels, 64) - whole).abs().max() > 1e-2 * whole.abs().max()


def test_tiles_run_the_model_itself_and_do_not_change_it(pixels):
    torch.manual_seed(1)
    model = Patches(CONTEXTS["hadamard"]()).eval()
    before = whole_logits(model, pixels)
    ran = []
    model.classifier.register_forward_hook(lambda module, inputs, output: ran.append(module))
    tile_logits(model, pixels, 64, halo=0)
    assert {*ran} == {model.classifier}
    assert torch.equal(whole_logits(model, pixels), before)


def test_failing_tile_does_not_change_the_model(pixels):
    torch.manual_seed(1)
    model = Patches(CONTEXTS["hadamard"]()).eval()
    before = whole_logits(model, pixels)

    def stop(module, inputs, output):
        raise MemoryError

    handle = model.classifier.register_forward_hook(stop)  # in the second pass, which uses the moments of the first
    with pytest.raises(MemoryError):
        tile_logits(model, pixels, 64, halo=0)
    handle.remove()
    assert torch.equal(whole_logits(model, pixels), before)


@torch.inference_mode()
def test_published_weights_in_tiles(examples):
    """Only the halo makes a difference to the untiled result, a smaller one than a separate squeeze of each tile."""
    picture = Image.open(examples / "crossing.png").resize((960, 720), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(picture.convert("RGB").crop((0, 272, 960, 464)))).permute(2, 0, 1)[None]
    model = Segmenter(device="cpu").model
    whole = whole_logits(model, pixels)
    errors, wrong = [], []
    for halo in (64, 192):
        tiled = tile_logits(model, pixels, 320, halo)
        errors.append((tiled - whole).abs().mean().item())
        wrong.append((tiled.argmax(1) != whole.argmax(1)).float().mean().item())
    spans = tile_spans(960, 320, halo, 16)
    alone = torch.cat([whole_logits(model, pixels[..., s.start : s.stop])[..., s.cells(4)[0]] for s in spans], 3)
    naive_error = (alone - whole).abs().mean().item()
    assert errors[1] < errors[0] / 3
    assert errors[1] < 0.01 * whole.std()
    assert wrong[0] < 0.02 and wrong[1] < 0.001
    assert errors[1] < 0.3 * naive_error


@torch.inference_mode()
def test_network_sees_at_most_a_tile_and_its_halo(pixels):
    model = Patches(CONTEXTS["hadamard"]()).eval()
    seen = []
    model.embed.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape[2:]))
    tile_logits(model, pixels, 64, halo=8)
    assert len(seen) == 2 * 3 * 4  # two passes
    assert max(max(size) for size in seen) <= 64 + 2 * 8


@pytest.mark.parametrize("model", ["srnet_lite0 sr", "dfseg_v1 sr_released"])
@torch.inference_mode()
def test_tiles_with_a_halo_as_large_as_the_image_are_exact(model, pixels):
    """Every part then sees the whole image, and only its core is kept; for both networks, fused or not."""
    name, context = model.split()
    torch.manual_seed(2)
    model = srzoo.create_model(name, num_classes=3, context=context).eval()
    for parameter in model.head.context.parameters():
        nn.init.normal_(parameter, std=0.3)
    pixels = pixels[..., :64, :128]
    for same in (model, srzoo.fuse(model)):
        torch.testing.assert_close(
            tile_logits(same, pixels, 64, halo=128), whole_logits(model, pixels), rtol=1e-3, atol=1e-3
        )
    assert torch.equal(tile_logits(model, pixels, 128), whole_logits(model, pixels))


@given(cells=st.integers(1, 200), tile=st.integers(4, 20), halo=st.integers(0, 30))
def test_cores_are_side_by_side(cells, tile, halo):
    length, tile, halo = 16 * cells, 16 * tile, 16 * halo
    spans = tile_spans(length, tile, halo, 16)
    assert spans[0].first == 0 and spans[-1].last == length
    assert all(a.last == b.first for a, b in pairwise(spans))
    for span in spans:
        assert all(edge % 16 == 0 for edge in span)
        assert span.last - span.first <= tile
        assert span.start == max(0, span.first - halo) and span.stop == min(length, span.last + halo)
        assert len(spans) == 1 or span.last - span.first >= tile // 2 - 16


@given(cells=st.integers(1, 200), window=st.integers(4, 20))
def test_windows_cover_the_image_and_overlap_by_a_third(cells, window):
    length, window = 16 * cells, 16 * window
    spans = window_spans(length, window, 16)
    assert spans[0].start == 0 and spans[-1].stop == length
    assert all(span.stop - span.start == min(window, length) for span in spans)
    assert all(0 < b.start - a.start <= 2 * window / 3 + 16 for a, b in pairwise(spans))


@torch.inference_mode()
def test_windows_are_averaged_where_they_overlap(pixels):
    """Patches without context have the same logits in every window; with context they are averaged."""
    torch.manual_seed(1)
    plain = Patches(nn.Identity()).eval()
    torch.testing.assert_close(window_logits(plain, pixels, 64), whole_logits(plain, pixels))
    model = Patches(CONTEXTS["hadamard"]()).eval()
    both = window_logits(model, pixels[..., :120, :200], 120)
    left, right = (whole_logits(model, pixels[..., :120, part]) for part in (slice(0, 120), slice(80, 200)))
    expected = torch.cat([left[..., :20], (left[..., 20:] + right[..., :10]) / 2, right[..., 10:]], 3)
    torch.testing.assert_close(both, expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model, x: tile_logits(model, x, 66), "tile=66.* 64 .* multiple of 4"),
        (lambda model, x: tile_logits(model, x, 32), "tile=32.* 64 "),
        (lambda model, x: tile_logits(model, x, 64, halo=6), "halo=6.* multiple of 4"),
        (lambda model, x: window_logits(model, x, 90), "window=90.* multiple of 4"),
        (lambda model, x: tile_logits(model, x[..., 1:], 64, 0), "211x140.* multiples of 4"),
        (lambda model, x: tile_logits(Patches(nn.ReLU()), x, 64, 0), "patches.*'sr', 'sr_released'.*'none'"),
    ],
)
def test_invalid_tiles_and_windows(call, message, pixels):
    with pytest.raises(ValueError, match=message):
        call(Patches(CONTEXTS["hadamard"]()).eval(), pixels)


@torch.inference_mode()
def test_pixels_made_by_columns_give_the_same_logits(pixels):
    """Also where the height is no multiple; an image no larger than a tile is one part."""
    torch.manual_seed(1)
    model = Patches(CONTEXTS["hadamard"]()).eval().to(memory_format=torch.channels_last)  # as a Segmenter has it
    picture = Image.fromarray(pixels[0].permute(1, 2, 0).numpy())
    for image in (picture, picture.crop((0, 0, 212, 99)), picture.crop((0, 0, 64, 64))):
        transform = model.config.transform.without_reduction(image.height, image.width)
        columns, whole = ImagePixels(image, transform), transform.resize(image)
        assert columns.shape == whole.shape
        assert torch.equal(tile_logits(model, columns, 64, 12), tile_logits(model, whole, 64, 12))
