"""Random numbers that depend on a key alone: the same on every device, whatever is drawn beside or before them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014), as signed numbers.
GAMMA = 0x9E3779B97F4A7C15 - 2**64
FACTOR1 = 0xBF58476D1CE4E5B9 - 2**64
FACTOR2 = 0x94D049BB133111EB - 2**64


def shift(x: Tensor, bits: int) -> Tensor:
    """Shift right and fill with zeros; PyTorch fills with the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def mix(x: Tensor) -> Tensor:
    """SplitMix64's output for the state before: a bijection of int64 in which every bit depends on all bits."""
    x = x + GAMMA
    x = (x ^ shift(x, 30)) * FACTOR1
    x = (x ^ shift(x, 27)) * FACTOR2
    return x ^ shift(x, 31)


class Draws:
    """One stream of random numbers for each sample, from (seed, epoch, sample) alone.

    Args:
        seed: (B,) int64, or one for all.
        epoch: The same.
        index: (B,) int64, the samples' places in the data set.
    """

    def __init__(self, seed: Tensor, epoch: Tensor, index: Tensor) -> None:
        self.key = seed, epoch, index
        self.state = mix(mix(mix(seed) + epoch) + index)

    def bits(self) -> Tensor:
        """The next 64 random bits of each sample, (B,) int64."""
        out = mix(self.state)
        self.state = self.state + GAMMA
        return out

    def uniform(self, low: float = 0.0, high: float = 1.0) -> Tensor:
        """(B,) float32, from `low` to below `high` in steps of 2**-24 of the way."""
        return low + (high - low) * (shift(self.bits(), 40).float() * 2.0**-24)

    def integers(self, high: int | Tensor) -> Tensor:
        """(B,) int64, from 0 to below `high`, which may be another for each sample and at most 2**32."""
        return (shift(self.bits(), 33) * high) >> 31

    def chance(self, prob: float) -> Tensor:
        """(B,) bool, true with the probability `prob`."""
        return self.uniform() < prob

    def alternating(self) -> Tensor:
        """(B,) bool, a fair coin of (seed, sample) that is turned over after each epoch."""
        seed, epoch, index = self.key
        before_training = torch.full_like(epoch, -1)
        return Draws(seed, before_training, index).chance(0.5) ^ (epoch % 2 == 1)

    def noise(self, shape: tuple[int, ...]) -> Tensor:
        """(B, *shape) float32, between 0 and 1 in steps of 2**-16: the middles of 65,536 equal parts."""
        count = math.prod(shape)
        places = torch.arange(-(-count // 4), device=self.state.device)
        bits = mix(self.bits()[:, None] + GAMMA * places).view(torch.int16)[:, :count]
        return (bits.float() * 2.0**-16 + (0.5 + 2.0**-17)).view(-1, *shape)
