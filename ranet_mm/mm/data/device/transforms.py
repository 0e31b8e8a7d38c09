"""Batched counterparts of mmpretrain's transforms: same names, options and pictures, on (B, C, H, W) uint8.

`draw` makes the random numbers of a batch and `apply` uses them, so that a test can hand both sides the same ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from .draws import Draws

Color = float | Sequence[float]


class Transform:
    """A random change of each image of a batch."""

    def draw(self, draws: Draws, shape: torch.Size) -> dict[str, Tensor]:
        """Random numbers for images of this shape."""
        raise NotImplementedError

    def apply(self, images: Tensor, **drawn: Tensor) -> Tensor:
        raise NotImplementedError

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        return self.apply(images, **self.draw(draws, images.shape))


@dataclass(frozen=True)
class RandomCrop(Transform):
    """Pad all four sides by `padding` pixels of the colour `pad_val`, then cut out `crop_size` x `crop_size`.

    A number as `pad_val` fills all channels; OpenCV, and with it mmpretrain, then fills the first alone.

    Raises:
        ValueError: A padded image is smaller than the crop.
    """

    crop_size: int
    padding: int = 0
    pad_val: Color = 0

    def draw(self, draws: Draws, shape: torch.Size) -> dict[str, Tensor]:
        places = [size + 2 * self.padding - self.crop_size + 1 for size in shape[-2:]]
        if min(places) < 1:
            raise ValueError(
                f'crop_size={self.crop_size} is not allowed: it must be at most {min(shape[-2:])} + 2 * padding, '
                f'where padding={self.padding}'
            )
        return dict(top=draws.integers(places[0]), left=draws.integers(places[1]))

    def apply(self, images: Tensor, top: Tensor, left: Tensor) -> Tensor:
        windows = self._padded(images).unfold(2, self.crop_size, 1).unfold(3, self.crop_size, 1)
        return windows[torch.arange(len(images), device=images.device), :, top, left]

    def _padded(self, images: Tensor) -> Tensor:
        (height, width), pad = images.shape[-2:], self.padding
        padded = images.new_empty((*images.shape[:2], height + 2 * pad, width + 2 * pad))
        padded[:] = filling(images, self.pad_val)
        padded[..., pad : pad + height, pad : pad + width] = images
        return padded


@dataclass(frozen=True)
class Flip(Transform):
    """Mirror some images; a subclass draws which."""

    direction: str = 'horizontal'

    DIMS = dict(horizontal=[-1], vertical=[-2], diagonal=[-2, -1])

    def __post_init__(self) -> None:
        if self.direction not in self.DIMS:
            raise ValueError(f'direction={self.direction!r} is not allowed: it must be one of {", ".join(self.DIMS)}')

    def apply(self, images: Tensor, flip: Tensor) -> Tensor:
        return torch.where(flip.view(-1, 1, 1, 1), images.flip(self.DIMS[self.direction]), images)


@dataclass(frozen=True)
class RandomFlip(Flip):
    """Mirror an image with the probability `prob`."""

    prob: float = 0.5

    def draw(self, draws: Draws, shape: torch.Size) -> dict[str, Tensor]:
        return dict(flip=draws.chance(self.prob))


@dataclass(frozen=True)
class AlternatingFlip(Flip):
    """Mirror each image in every second epoch, half of them in the first (Jordan, arXiv:2404.00498, section 3.6).

    A coin for each epoch would leave some images unmirrored for long. mmpretrain has no such transform: a pipeline
    there is not told the epoch.
    """

    def draw(self, draws: Draws, shape: torch.Size) -> dict[str, Tensor]:
        return dict(flip=draws.alternating())


@dataclass(frozen=True)
class Cutout(Transform):
    """Fill a square of `shape` pixels, which the right and the lower border may cut off (DeVries and Taylor, 2017)."""

    shape: int
    pad_val: Color = 128
    prob: float = 0.5

    def draw(self, draws: Draws, shape: torch.Size) -> dict[str, Tensor]:
        corner = [(draws.uniform(0, size) - self.shape / 2).clamp(min=0).long() for size in shape[-2:]]
        return dict(top=corner[0], left=corner[1], cut=draws.chance(self.prob))

    def apply(self, images: Tensor, top: Tensor, left: Tensor, cut: Tensor) -> Tensor:
        size = cut * self.shape
        return torch.where(box_mask(images.shape, top, left, size, size), filling(images, self.pad_val), images)


@dataclass(frozen=True)
class RandomErasing(Transform):
    """Fill a rectangle with one colour, or with noise (Zhong et al., arXiv:1708.04896)."""

    erase_prob: float = 0.5
    min_area_ratio: float = 0.02
    max_area_ratio: float = 0.4
    aspect_range: tuple[float, float] = (3 / 10, 10 / 3)
    mode: str = 'const'
    fill_color: Color = (128, 128, 128)
    fill_std: Color | None = None

    def __post_init__(self) -> None:
        if self.mode not in ('const', 'rand'):
            raise ValueError(f'mode={self.mode!r} is not allowed: it must be one of const, rand')

    def draw(self, draws: Draws, shape: torch.Size) -> dict[str, Tensor]:
        erased = draws.chance(self.erase_prob)
        aspect = draws.uniform(*(math.log(a) for a in self.aspect_range)).exp()
        area = draws.uniform(self.min_area_ratio, self.max_area_ratio) * (shape[-2] * shape[-1])
        height = (area * aspect).sqrt().round().clamp(max=shape[-2]).long()
        width = (area / aspect).sqrt().round().clamp(max=shape[-1]).long()
        drawn = dict(
            top=draws.integers((shape[-2] - height).clamp(min=1)),  # never the last place, as in mmpretrain
            left=draws.integers((shape[-1] - width).clamp(min=1)),
            height=height * erased,
            width=width,
        )
        if self.mode == 'rand':
            drawn['noise'] = draws.noise(tuple(shape[1:]))
        return drawn

    def apply(
        self, images: Tensor, top: Tensor, left: Tensor, height: Tensor, width: Tensor, noise: Tensor | None = None
    ) -> Tensor:
        mask = box_mask(images.shape, top, left, height, width)
        return torch.where(mask, self._fill(images, noise), images)

    def _fill(self, images: Tensor, noise: Tensor | None) -> Tensor:
        if noise is None:
            return filling(images, self.fill_color)
        if self.fill_std is None:
            return (noise * 256).to(images.dtype)
        normal = torch.special.ndtri(noise)
        mean, std = (filling(normal, color) for color in (self.fill_color, self.fill_std))
        return (mean + std * normal).clamp(0, 255).to(images.dtype)


def box_mask(shape: torch.Size, top: Tensor, left: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """(B, 1, H, W) bool, true inside each sample's rectangle."""
    rows, columns = (torch.arange(size, device=top.device) for size in shape[-2:])
    inside_rows = (rows >= top[:, None]) & (rows < (top + height)[:, None])
    inside_columns = (columns >= left[:, None]) & (columns < (left + width)[:, None])
    return inside_rows[:, None, :, None] & inside_columns[:, None, None, :]


def filling(images: Tensor, color: Color) -> Tensor:
    """A colour, of which uint8 images drop the decimals, as (1 or C, 1, 1)."""
    return constant(tuple(color) if isinstance(color, Sequence) else (color,), images.dtype, images.device)


@cache
def constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """(C, 1, 1), copied to the device once: a copy waits for whatever the device still has to do."""
    return torch.tensor(values).to(dtype).view(-1, 1, 1).to(device)
