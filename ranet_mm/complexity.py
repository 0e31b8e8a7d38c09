"""Parameters, multiply-adds and activations of a network, counted layer by layer; torch only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .arch import ArchCfg
from .network import RANetFeatures

COUNTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
RANDOM = (Tensor.normal_, Tensor.uniform_)


class _NotInitialized(TorchFunctionMode):
    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0] if function in RANDOM else function(*args, **kwargs or {})


@contextmanager
def shapes_alone() -> Iterator[None]:
    """What is built in it is on the meta device and not initialized: drawing no numbers there takes PyTorch seconds."""
    with torch.device('meta'), _NotInitialized():
        yield


def complexity(model: nn.Module, *inputs: Tensor, **kwargs: Any) -> dict[str, int]:
    """Count one forward pass in evaluation mode; works on the meta device, where nothing is computed.

    Returns:
        `params`: learned values; `macs`: multiply-adds of convolutions and linear layers; `activations`:
        values that these layers put out.
    """
    with _counting(model.eval()) as totals, torch.no_grad():
        model(*inputs, **kwargs)
    return dict(params=sum(p.numel() for p in model.parameters()), **totals)


@contextmanager
def _counting(model: nn.Module) -> Iterator[dict[str, int]]:
    totals = dict(macs=0, activations=0)

    def count(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        # Each weight of one output channel (of one input channel, where transposed) is used once a value.
        values = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
        totals['macs'] += values.numel() * layer.weight[0].numel()
        totals['activations'] += output.numel()

    hooks = [layer.register_forward_hook(count) for layer in model.modules() if isinstance(layer, COUNTED)]
    try:
        yield totals
    finally:
        for hook in hooks:
            hook.remove()


class Classifier(nn.Module):
    """Features, pooling (or flattening) and a linear layer: what the papers count."""

    def __init__(self, arch: str | ArchCfg, num_classes: int) -> None:
        super().__init__()
        self.features = RANetFeatures(arch)
        cfg = self.features.arch
        self.pool = nn.Identity() if cfg.flatten else nn.AdaptiveAvgPool2d(1)
        side = cfg.last_side() if cfg.flatten else 1
        self.fc = nn.Linear(self.features.num_features * side**2, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(self.features(x)).flatten(1))


def facts(arch: str | ArchCfg, size: int | None = None, num_classes: int | None = None) -> dict[str, Any]:
    """What there is to know about a variant without running it.

    Args:
        arch: Name of a variant or `ArchCfg`.
        size: Side of the input in pixels; the native one where left out.
        num_classes: 10 for native sizes up to 64 px and 1000 above, where left out.
    """
    with shapes_alone():
        cfg = RANetFeatures(arch).arch
        size = size or cfg.img_size
        num_classes = num_classes or (10 if cfg.img_size <= 64 else 1000)
        model = Classifier(cfg, num_classes)
        counts = complexity(model, torch.empty(1, 3, size, size))
    features = [dict(channels=f['num_chs'], reduction=f['reduction']) for f in model.features.feature_info]
    return dict(**counts, depth=cfg.depth, img_size=size, num_classes=num_classes, features=features)
