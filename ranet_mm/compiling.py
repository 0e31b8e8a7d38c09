"""Compiling by units: once for each shape, and nothing for what is rare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .layers import Unit

BLOCKS = 'BasicBlock', 'Bottleneck'  # of mmpretrain's ResNets
SHAPES = 64  # that one unit's code may be compiled for; PyTorch stops after 8


def compile_units(model: nn.Module, batch_size: int, options: Mapping[str, Any]) -> None:
    """Compile the residual units of a classifier's backbone in place; all units of a shape share what is compiled.

    Only training batches of the full size run compiled. The last one of an epoch, validation and test run as they are:
    each would compile everything once more. Names of weights stay.

    Args:
        model: A model with a `backbone`.
        batch_size: Images of a full batch.
        options: Arguments of `torch.compile`.

    Raises:
        ValueError: The backbone has no units.
    """
    backbone = model.backbone
    if 'forward' in vars(backbone):  # compiled already
        return
    if not compiled_units(backbone, options):
        raise ValueError(
            f'compile={dict(options) or True} is not allowed with a backbone of type {type(backbone).__name__}: it has '
            'no residual units'
        )
    plain = backbone.forward

    def forward(x: Tensor) -> Any:
        full = backbone.training and len(x) == batch_size
        with torch.compiler.set_stance('default' if full else 'force_eager'):
            return plain(x)

    backbone.forward = forward


def compiled_units(network: nn.Module, options: Mapping[str, Any]) -> int:
    """Compile the residual units of a network in place; returns how many there are."""
    units = [m for m in network.modules() if isinstance(m, Unit) or type(m).__name__ in BLOCKS]
    dynamo = torch._dynamo.config
    dynamo.recompile_limit = max(dynamo.recompile_limit, SHAPES)
    for part in network.modules():
        if hasattr(part, 'compiled'):
            part.compiled = True
    for unit in units:
        unit.compile(**{'dynamic': False, **options})
    return len(units)
