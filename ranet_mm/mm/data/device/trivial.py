"""TrivialAugment on a batch: one of 14 changes for each image, at a strength drawn evenly.

Every change gives the bytes that Pillow gives, which torchvision's `TrivialAugmentWide` uses: same order of
operations, same rounding. Changes of one kind share their passes over the batch, whatever each image's own change is:
geometry is one gather, a change of grey values one table look-up, brightness, contrast, colour and sharpness one blend.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from .draws import Draws
from .transforms import Transform

MOVES = ('ShearX', 'ShearY', 'TranslateX', 'TranslateY', 'Rotate')
BLENDS = ('Brightness', 'Contrast', 'Color', 'Sharpness')
CHANGES = (*MOVES, *BLENDS, 'Posterize', 'Solarize', 'AutoContrast', 'Equalize', 'Identity')
NUMBER = {name: number for number, name in enumerate(CHANGES)}
SIGNED = NUMBER['Posterize']  # those before it may go either way
BINS = 31
FIXED = 2**16  # Pillow's affine transform counts in these parts of a pixel


@dataclass(frozen=True)
class TrivialAugmentWide(Transform):
    """TrivialAugment with the wide space (Mueller and Hutter, arXiv:2103.10158), as torchvision has it.

    Raises:
        ValueError: The images are not in colour.
    """

    def draw(self, draws: Draws, shape: torch.Size) -> dict[str, Tensor]:
        if shape[1] != 3:
            raise ValueError(f'{shape[1]} channels are not allowed with TrivialAugmentWide: it needs 3')
        change, level = draws.integers(len(CHANGES)), draws.integers(BINS)
        sign = 1.0 - 2.0 * draws.integers(2)
        strength = strengths(change.device)[change, level]
        return dict(change=change, strength=torch.where(change < SIGNED, sign * strength, strength))

    def apply(self, images: Tensor, change: Tensor, strength: Tensor) -> Tensor:
        for kind in (moved, looked_up, blended):
            images = kind(images, change, strength)
        return images


@cache
def strengths(device: torch.device) -> Tensor:
    """The strength of each change at each level, (14, 31) float64 of values that float32 holds."""
    wide, bits = torch.linspace(0.0, 0.99, BINS), 8 - (torch.arange(BINS) / ((BINS - 1) / 6)).round()
    shift = torch.linspace(0.0, 32.0, BINS).trunc()
    rows = dict(
        TranslateX=shift, TranslateY=shift, Rotate=torch.linspace(0.0, 135.0, BINS), Posterize=bits,
        Solarize=torch.linspace(255.0, 0.0, BINS),
    )  # fmt: skip
    return torch.stack([rows.get(name, wide) for name in CHANGES]).double().to(device)


def moved(images: Tensor, change: Tensor, strength: Tensor) -> Tensor:
    """Nearest pixel of the image at the place that a matrix takes each place of the result to, black outside it."""
    height, width = images.shape[-2:]
    shear_x, shear_y, shift_x, shift_y, turn = (strength * (change == NUMBER[name]) for name in MOVES)
    angle = -turn * (math.pi / 180)
    cos, sin = ((f(angle) * 1e15).round() / 1e15 for f in (torch.cos, torch.sin))
    x, y = width / 2, height / 2  # the middle, which stays where it is when an image is turned
    column = places(cos, sin + shear_x, x - cos * x - sin * y - shift_x, width, height)
    row = places(shear_y - sin, cos, y + sin * x - cos * y - shift_y, width, height)
    there = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    index = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
    pixels = images.flatten(2).gather(2, index.flatten(1)[:, None].expand(-1, images.shape[1], -1))
    return pixels.view_as(images) * there[:, None]


def places(x: Tensor, y: Tensor, start: Tensor, width: int, height: int) -> Tensor:
    """(B, H, W) int64: one coordinate of the place of each pixel's middle, in Pillow's fixed-point arithmetic."""
    start = start + 0.5 * x + 0.5 * y
    x, y, start = (((v * FIXED + 0.5).floor().long())[:, None, None] for v in (x, y, start))
    columns, rows = torch.arange(width, device=x.device), torch.arange(height, device=x.device)[:, None]
    return (start + y * rows + x * columns) >> 16


def equalized(levels: Tensor, images: Tensor) -> Tensor:
    """Each level's share of the pixels up to it, which makes all levels as frequent."""
    pixels = images.flatten(2).long()
    counts = torch.zeros(*pixels.shape[:2], 256, dtype=torch.int64, device=pixels.device)
    counts = counts.scatter_add(2, pixels, torch.ones_like(pixels))
    last = counts.gather(2, pixels.amax(2, keepdim=True))
    step = (pixels.shape[2] - last) // 255
    below = counts.cumsum(2) - counts
    return torch.where(step > 0, (step // 2 + below) // step.clamp(min=1), levels).clamp(max=255)


def looked_up(images: Tensor, change: Tensor, strength: Tensor) -> Tensor:
    """Each grey value of a channel replaced by another."""
    levels = torch.arange(256, device=images.device).float().expand(*images.shape[:2], 256)
    strength = strength.view(-1, 1, 1)
    low, high = (f(dim=(2, 3)).double()[..., None] for f in (images.amin, images.amax))
    scale = 255.0 / (high - low)
    tables = dict(
        Posterize=levels.int() & -(2 ** (8 - strength)).int(),
        Solarize=torch.where(levels < strength, levels, 255 - levels),
        AutoContrast=torch.where(high > low, (levels * scale - low * scale).clamp(0, 255).trunc(), levels),
        Equalize=equalized(levels, images),
    )
    table = levels.to(torch.uint8)
    for name, made in tables.items():
        table = torch.where((change == NUMBER[name]).view(-1, 1, 1), made.to(torch.uint8), table)
    return table.gather(2, images.flatten(2).long()).view_as(images)


def blended(images: Tensor, change: Tensor, strength: Tensor) -> Tensor:
    """The way to the image from a plain one (black, its mean, grey or smooth), gone (1 + strength) far."""
    change, factor = change.view(-1, 1, 1, 1), (1 + strength).float().view(-1, 1, 1, 1)
    luma, image = grey(images), images.float()
    mean = (luma.double().mean((1, 2, 3), keepdim=True) + 0.5).int()
    plain = torch.where(change == NUMBER['Color'], luma, smooth(images))
    plain = torch.where(change == NUMBER['Contrast'], mean, plain)
    plain = plain.float() * (change != NUMBER['Brightness'])
    chosen = (change >= NUMBER['Brightness']) & (change < SIGNED)
    return torch.where(chosen, (plain + factor * (image - plain)).clamp(0, 255), image).to(torch.uint8)


def grey(images: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, 1, H, W) int32: ITU-R 601-2 luma in Pillow's fixed-point arithmetic."""
    red, green, blue = images.int().split(1, dim=1)
    return (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16


def smooth(images: Tensor) -> Tensor:
    """int32: the mean over 3x3 with the middle weighted fivefold, borders as they are."""
    x = images.int()
    rows = x[..., :-2, :] + x[..., 1:-1, :] + x[..., 2:, :]
    total = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * x[..., 1:-1, 1:-1]
    out = x.clone()
    out[..., 1:-1, 1:-1] = (2 * total + 13) // 26
    return out
