"""Images as people see them, from what a preprocessor gives the network."""

from __future__ import annotations

from torch import Tensor, nn

BYTE = 255


def restored(image: Tensor, preprocessor: nn.Module) -> Tensor:
    """(C, H, W) -> (3, H, W) in [0, 1]: normalization undone, where the preprocessor has one."""
    image = image.float()
    if getattr(preprocessor, '_enable_normalize', False):
        image = image * preprocessor.std.view(-1, 1, 1) + preprocessor.mean.view(-1, 1, 1)
    return (image[[0, 0, 0]] if len(image) == 1 else image[:3]).div(BYTE).clamp(0, 1)
