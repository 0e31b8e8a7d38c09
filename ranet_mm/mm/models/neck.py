"""Between the backbone's map and the classifier."""

from __future__ import annotations

from mmengine.model import BaseModule
from mmengine.registry import MODELS as ROOT_MODELS
from torch import Tensor

from ...registry import MODELS


@ROOT_MODELS.register_module()
@MODELS.register_module()
class ResidualAttentionNeck(BaseModule):
    """Global average pooling, or the flattening with which the report's network ends.

    Args:
        mode: `avg`: (N, C, H, W) -> (N, C). `flatten`: (N, C, H, W) -> (N, C * H * W), which fixes the
            size of the input.

    Raises:
        ValueError: `mode` is not known.
    """

    MODES = ('avg', 'flatten')

    def __init__(self, mode: str = 'avg', init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if mode not in self.MODES:
            raise ValueError(f'mode={mode!r} is not allowed: it must be one of {", ".join(self.MODES)}')
        self.mode = mode

    def forward(self, inputs: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        maps = inputs if isinstance(inputs, tuple) else (inputs,)
        if self.mode == 'flatten':
            return tuple(x.flatten(1) for x in maps)
        return tuple(x.mean((2, 3)) for x in maps)
