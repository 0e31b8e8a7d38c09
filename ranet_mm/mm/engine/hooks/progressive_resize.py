"""Training on small pictures first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor
from torch.nn.functional import interpolate

from ....registry import HOOKS
from .checkpoint_guard import unwrapped


@HOOKS.register_module()
class ProgressiveResizeHook(Hook):
    """Train on small pictures first: a picture of half the side costs a quarter of the time.

    Each picture is resized after its augmentation, by antialiased bilinear interpolation; validation and test see the
    full size. End at the full size, as batch-norm statistics depend on the size. A preprocessor that makes its own
    pictures on the device is told the side through its attribute `size`. The side follows from the iteration alone, so
    a resumed run goes on as the uninterrupted one.

    Args:
        sizes: (first epoch, side in pixels) in increasing order of the epoch, the first from epoch 0. An epoch may be a
            fraction: 7.5 is the middle of the eighth.

    Raises:
        ValueError: `sizes` does not start at epoch 0, is not in order or holds a side below 16.
    """

    LEAST = 16  # the deepest map of the CIFAR layout is then 4 x 4, which its mask can still halve

    def __init__(self, sizes: Sequence[tuple[float, int]]) -> None:
        epochs = [epoch for epoch, _ in sizes]
        if not epochs or epochs[0] != 0 or epochs != sorted(set(epochs)) or min(side for _, side in sizes) < self.LEAST:
            raise ValueError(
                f'sizes={sizes!r} is not allowed: it must be (first epoch, side) pairs with increasing epochs '
                f'from 0 and sides of {self.LEAST} pixels or more'
            )
        self.sizes = sizes
        self._told = 0

    def side(self, epoch: float) -> int:
        return [side for first, side in self.sizes if first <= epoch][-1]

    def shares(self, epochs: int) -> list[tuple[float, int]]:
        """(share of a run of so many epochs, side), in order."""
        first = [*(epoch for epoch, _ in self.sizes), epochs]
        return [((end - start) / epochs, side) for (start, side), end in zip(self.sizes, first[1:], strict=True)]

    def before_train(self, runner: Runner) -> None:
        """Tell the network, which takes small pictures for a mistake, that they are meant."""
        if late := [size for size in self.sizes if size[0] >= runner.max_epochs]:
            runner.logger.warning(
                f'training ends after {runner.max_epochs} epochs, before the sizes (first epoch, side) '
                f'{", ".join(map(str, late))}, which validation and test may need'
            )
        for module in runner.model.modules():
            if hasattr(module, 'min_size'):
                module.min_size = min(module.min_size, *(side for _, side in self.sizes))

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        side = self.side(runner.iter * runner.max_epochs / runner.max_iters)
        if side != self._told:
            runner.logger.info(f'from iteration {runner.iter + 1}: pictures of {side} pixels a side')
            self._told = side
        self.resize(runner, data_batch, side)

    def resize(self, runner: Runner, data_batch: Any, side: int) -> None:
        """Have the pictures of a batch, and of those that a preprocessor makes by itself, in this size."""
        preprocessor = unwrapped(runner.model).data_preprocessor
        if hasattr(preprocessor, 'size'):
            preprocessor.size = side
        else:
            data_batch['inputs'] = [_resized(image, side) for image in data_batch['inputs']]


def _resized(image: Tensor, side: int) -> Tensor:
    """(C, H, W) to (C, side, side) in its own type."""
    if image.shape[-2:] == (side, side):
        return image
    return interpolate(image[None], size=(side, side), mode='bilinear', antialias=True)[0]
