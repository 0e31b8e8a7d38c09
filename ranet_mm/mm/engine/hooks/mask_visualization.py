"""What the network attends to, while it is trained."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from ....attention import REDUCE, AttentionMaps, attention_maps, mask_statistics, merges
from ....registry import HOOKS
from ....sheets import Seen, overview, pixels
from ...data.restored import restored
from ..continuing import generators, set_generators
from .checkpoint_guard import unwrapped


@HOOKS.register_module()
class MaskVisualizationHook(Hook):
    """Send the masks of the first validation images, and their statistics, to the runner's visualizer.

    Each image becomes a picture `attention_0.png`, ...; each module gives `attention/NAME/mean`, `.../saturation` and
    `.../entropy` over all these images (see `ranet_mm.attention.mask_statistics`). Training is what it is without:
    weights, batch statistics and random numbers stay the same to the last bit.

    Args:
        interval: Iterations from one time to the next.
        images: How many images.
        reduce: What becomes of the channels in pictures; see `ranet_mm.attention_maps`.

    Raises:
        ValueError: An argument is not allowed, the run has no validation, or the model no attention modules.
    """

    priority = 'LOW'  # behind the optimizer and its averages

    def __init__(self, interval: int = 500, images: int = 2, reduce: str = 'mean') -> None:
        for name, value in dict(interval=interval, images=images).items():
            if not isinstance(value, int) or value < 1:
                raise ValueError(f'{name}={value!r} is not allowed: it must be a whole number above 0')
        if reduce not in REDUCE:
            raise ValueError(f'reduce={reduce!r} is not allowed: it must be one of {", ".join(REDUCE)}')
        self.interval, self.images, self.reduce = interval, images, reduce

    def before_train(self, runner: Runner) -> None:
        if runner.val_loop is None:
            raise ValueError('MaskVisualizationHook is not allowed in a run without validation, whose images it shows')
        merges(unwrapped(runner.model))
        if is_main_process():
            drawn = generators()
            try:
                self._inputs = first(runner.val_dataloader, self.images, runner)
            finally:
                set_generators(drawn)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if is_main_process() and self.every_n_train_iters(runner, self.interval):
            self.show(runner, runner.iter + 1)

    def show(self, runner: Runner, step: int) -> None:
        """Send what the model attends to now."""
        preprocessor = unwrapped(runner.model).data_preprocessor
        found = attention_maps(runner.model, self._inputs)
        told = {
            f'attention/{name}/{key}': value
            for name, maps in found.items()
            for key, value in mask_statistics(maps.mask).items()
        }
        runner.visualizer.add_scalars(told, step=step)
        for number, image in enumerate(self._inputs):
            one = {name: AttentionMaps(*(x[number : number + 1].cpu() for x in maps)) for name, maps in found.items()}
            title, model = f'validation image {number}', f'iteration {step}'
            seen = Seen(restored(image, preprocessor).cpu(), one, title=title, model=model)
            runner.visualizer.add_image(f'attention_{number}.png', pixels(overview([seen], self.reduce)), step=step)


@torch.no_grad()
def first(loader: DataLoader, count: int, runner: Runner) -> Tensor:
    """The first images of a loader's data as the network gets them in validation, (N, C, H, W)."""
    some = Subset(loader.dataset, range(min(count, len(loader.dataset))))
    batch = next(iter(DataLoader(some, len(some), collate_fn=loader.collate_fn)))
    return unwrapped(runner.model).data_preprocessor(batch, False)['inputs'].clone()
