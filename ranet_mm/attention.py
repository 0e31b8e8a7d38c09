"""What a network attends to: the masks of its attention modules, what they weigh, and what comes of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DataParallel, DistributedDataParallel

from .layers import Merge
from .network import RANetFeatures

BINS = 20


class AttentionMaps(NamedTuple):
    """What one attention module made of a batch, each (N, C, H, W), float32 or the model's float64.

    Attributes:
        mask: M, in [0, 1]; in [-1, 1] where attention is by channel.
        trunk: T, the feature before the mask.
        product: (1 + M) T, or M T in naive learning: the feature behind it.
    """

    mask: Tensor
    trunk: Tensor
    product: Tensor


Reduce = Callable[[AttentionMaps], AttentionMaps]


def attention_maps(
    model: nn.Module, images: Tensor, reduce: str | None = None, size: tuple[int, int] | str | None = None
) -> dict[str, AttentionMaps]:
    """Show images to a model in evaluation mode, and keep what its attention modules compute.

    The model may be plain, in deploy form, of timm or of OpenMMLab, compiled, wrapped for several devices, in training
    mode or under autocast. It stays as it was, also after an error: no hook, gradient or changed mode is left behind.
    What is compiled runs as it was before.

    Args:
        model: It has attention modules.
        images: (N, in_chans, H, W), normalized, on the model's device: what the model's `forward` takes, or
            `extract_feat` where it is of OpenMMLab, behind its preprocessor.
        reduce: What becomes of the channels: None keeps them; `mean` and `max` over them; `active` is one channel for
            each image, in which the mask adds most to the feature: where the mean of |M T| is greatest; `pca` is the
            first principal component of an image's map over its positions, with the sign that has it grow with the mean
            over the channels. All but None give (N, 1, H, W).
        size: Height and width: None keeps those of the module, `input` is those of the images. Interpolated bilinearly,
            after channels are reduced.

    Returns:
        The maps by the name of the module in the network's state dict, as in `stages.0.1`, whatever the network is
        part of, in the order in which they are computed: from fine to coarse.

    Raises:
        ValueError: The model has no attention modules, or an argument is not allowed.
    """
    if reduce not in (None, *REDUCE):
        raise ValueError(f'reduce={reduce!r} is not allowed: it must be None or one of {", ".join(REDUCE)}')
    if not isinstance(images, Tensor) or images.dim() != 4:
        shape = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise ValueError(f'images of shape {shape} are not allowed: they must be a tensor of (N, in_chans, H, W)')
    sides, found = _sides(size, images), {}

    def keep(name: str, mask: Tensor, trunk: Tensor, product: Tensor) -> None:
        with torch.autocast(mask.device.type, enabled=False):  # which would round what is reduced
            maps = AttentionMaps(*(_floating(x) for x in (mask, trunk, product)))
            maps = reduced(maps, reduce)
            # Copies: in deploy form, later layers write over these maps.
            found[name] = AttentionMaps(*(x.clone() if sides is None else _resized(x, sides) for x in maps))

    model = unwrapped(model)
    with watched(model, keep), evaluating(model), torch.no_grad(), torch.compiler.set_stance('force_eager'):
        getattr(model, 'extract_feat', model)(images)
    return found


def mask_statistics(mask: Tensor) -> dict[str, float]:
    """What the values of a mask are like, whatever its shape; values in [-1, 1] are brought to [0, 1] first.

    Returns:
        `mean`; `saturation`: the share of values below 0.05 or above 0.95; `entropy`: that of their histogram of 20
        equal bins, in bits: 0 where the mask says the same everywhere, and at most log2(20) = 4.32.
    """
    values = mask.detach().float().flatten()
    values = (values + 1) / 2 if values.min() < 0 else values
    shares = torch.histc(values.cpu(), BINS, 0, 1) / values.numel()
    return dict(
        mean=float(values.mean()),
        saturation=float(((values < 0.05) | (values > 0.95)).float().mean()),
        entropy=float(torch.special.entr(shares).sum() / math.log(2)),
    )


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside what compiles it or spreads it over devices."""
    while isinstance(model, (DataParallel, DistributedDataParallel, torch._dynamo.OptimizedModule)):
        model = model._orig_mod if isinstance(model, torch._dynamo.OptimizedModule) else model.module
    return model


def merges(model: nn.Module) -> dict[str, Merge]:
    """Where mask and trunk meet, by the names of the attention modules in their network's state dict.

    Raises:
        ValueError: There are none.
    """
    named = dict(model.named_modules())
    networks = [name for name, module in named.items() if isinstance(module, RANetFeatures)]
    prefix = f'{networks[0]}.' if len(networks) == 1 and networks[0] else ''
    found = {n.removeprefix(prefix).removesuffix('.merge'): m for n, m in named.items() if isinstance(m, Merge)}
    if not found:
        raise ValueError(f'model of type {type(model).__name__} is not allowed: it has no attention modules')
    return found


@contextmanager
def watched(model: nn.Module, keep: Callable[[str, Tensor, Tensor, Tensor], None]) -> Iterator[None]:
    """Call `keep` with the name, mask, trunk and product of each attention module that runs."""
    hooks = [
        merge.register_forward_hook(lambda _, inputs, output, name=name: keep(name, *inputs, output))
        for name, merge in merges(model).items()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Every module in evaluation mode, and afterwards each in its own again: some may be held in another."""
    modes = [(module, module.training) for module in model.modules()]
    for module, _ in modes:
        module.training = False
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


# What becomes of channels and sizes ---------------------------------------------------------------------


def reduced(maps: AttentionMaps, reduce: str | None) -> AttentionMaps:
    """(N, C, H, W) -> (N, 1, H, W), or the same without a word; see `attention_maps`."""
    return maps if reduce is None else REDUCE[reduce](maps)


def busiest(maps: AttentionMaps) -> Tensor:
    """The channel of each image in which the mask adds most, (N,)."""
    return (maps.mask * maps.trunk).abs().mean((2, 3)).argmax(1)


def most_active(maps: AttentionMaps) -> AttentionMaps:
    """The busiest channel of each image, the same of mask, trunk and product."""
    channel = busiest(maps)
    image = torch.arange(len(channel), device=channel.device)
    return AttentionMaps(*(x[image, channel][:, None] for x in maps))


def principal(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, 1, H, W): the first principal component of each image's positions."""
    points = x.flatten(2)
    points = points - points.mean(2, keepdim=True)  # (N, C, HW)
    wide = points.shape[1] > points.shape[2]
    gram = points.mT @ points if wide else points @ points.mT
    values, vectors = torch.linalg.eigh(gram)
    first = vectors[..., -1:]
    scores = first * values[:, -1:, None].clamp(min=0).sqrt() if wide else points.mT @ first  # (N, HW, 1)
    along = (scores * points.mean(1)[..., None]).sum(1, keepdim=True)
    return (scores * torch.where(along < 0, -1, 1)).mT.unflatten(2, x.shape[2:])


REDUCE: dict[str, Reduce] = {
    'mean': lambda maps: AttentionMaps(*(x.mean(1, keepdim=True) for x in maps)),
    'max': lambda maps: AttentionMaps(*(x.amax(1, keepdim=True) for x in maps)),
    'active': most_active,
    'pca': lambda maps: AttentionMaps(*map(principal, maps)),
}


def _floating(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _resized(x: Tensor, sides: tuple[int, int]) -> Tensor:
    return F.interpolate(x, sides, mode='bilinear', align_corners=False)


def _sides(size: tuple[int, int] | str | None, images: Tensor) -> tuple[int, int] | None:
    if size is None or size == 'input':
        return None if size is None else tuple(images.shape[-2:])
    if isinstance(size, (tuple, list)) and len(size) == 2 and all(isinstance(s, int) and s > 0 for s in size):
        return tuple(size)
    raise ValueError(f"size={size!r} is not allowed: it must be None, 'input' or (height, width) in pixels above 0")
