"""Mixup and CutMix, drawn for each sample: its partner may be any sample of the data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .draws import Draws
from .pipeline import build
from .transforms import box_mask

QUANTILES = 2**16


@dataclass(frozen=True)
class Mixup:
    """lam * image + (1 - lam) * partner, lam from Beta(alpha, alpha) (Zhang et al., arXiv:1710.09412)."""

    alpha: float

    def weight(self, draws: Draws, lam: Tensor, shape: torch.Size) -> Tensor:
        """The image's own weight at each pixel, (B, 1, H, W)."""
        return lam.view(-1, 1, 1, 1).expand(-1, 1, *shape[-2:])


@dataclass(frozen=True)
class CutMix(Mixup):
    """A rectangle of the area (1 - lam) from the partner, cut off at the border (Yun et al., arXiv:1905.04899)."""

    def weight(self, draws: Draws, lam: Tensor, shape: torch.Size) -> Tensor:
        box = []
        for size in shape[-2:]:
            half = (size * (1 - lam).sqrt()).long() // 2
            centre = draws.integers(size)
            start = (centre - half).clamp(min=0)
            box += [start, (centre + half).clamp(max=size) - start]
        return (~box_mask(shape, box[0], box[2], box[1], box[3])).float()


class Mixing(nn.Module):
    """Chooses one way of mixing for each sample, as mmpretrain's `batch_augments` does for each batch.

    Args:
        augments: `dict(type='Mixup' or 'CutMix', alpha=...)`, or several.
        probs: The probability of each; where they sum up to less than 1, the rest stays as it is. Equal by default.

    Raises:
        ValueError: A type or an alpha is not allowed, or `probs` does not fit.
        TypeError: An option is not known.
    """

    KINDS = dict(Mixup=Mixup, CutMix=CutMix)

    def __init__(
        self, augments: Mapping[str, Any] | Sequence[Mapping[str, Any]], probs: float | Sequence[float] | None = None
    ) -> None:
        super().__init__()
        augments = [augments] if isinstance(augments, Mapping) else augments
        self.kinds = [build(cfg, self.KINDS) for cfg in augments]
        probs = [1 / len(self.kinds)] * len(self.kinds) if probs is None else probs
        self.probs = [probs] if isinstance(probs, float) else list(probs)
        if len(self.probs) != len(self.kinds) or min(self.probs) < 0 or sum(self.probs) > 1 + 1e-9:
            raise ValueError(
                f'probs={probs!r} is not allowed: it must hold a probability for each of {len(self.kinds)} '
                'augments, at most 1 in all'
            )
        quantiles = torch.stack([beta_quantiles(kind.alpha) for kind in self.kinds])
        self.register_buffer('quantiles', quantiles, persistent=False)

    def forward(self, draws: Draws, shape: torch.Size) -> Tensor:
        """Each image's own weight at each pixel, (B, 1, H, W) from 0 to 1; its mean is the weight of its label."""
        choice = draws.uniform()
        place = draws.integers(QUANTILES)
        weight = torch.ones(1, 1, 1, 1, device=choice.device)
        upto = 0.0
        for kind, prob, quantiles in zip(self.kinds, self.probs, self.quantiles, strict=True):
            chosen = (choice >= upto) & (choice < upto + prob)
            upto += prob
            weight = torch.where(chosen.view(-1, 1, 1, 1), kind.weight(draws, quantiles[place], shape), weight)
        return weight


def beta_quantiles(alpha: float) -> Tensor:
    """The quantiles of Beta(alpha, alpha) at the middles of `QUANTILES` equal steps.

    A place drawn at random in them is a draw from the distribution, without the loop of the usual samplers, which
    would make the count of random numbers depend on their values.

    Raises:
        ValueError: alpha is not positive.
    """
    from scipy.special import betaincinv

    if alpha <= 0:
        raise ValueError(f'alpha={alpha!r} is not allowed: it must be positive')
    middles = (torch.arange(QUANTILES, dtype=torch.float64) + 0.5) / QUANTILES
    return torch.from_numpy(betaincinv(alpha, alpha, middles.numpy())).float()
