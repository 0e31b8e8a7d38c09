"""The authors' Caffe files, github.com/fwang91/residual-attention-network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ...arch import ARCHS, ArchCfg, changed_fields, resolve_arch
from ...layers import UNITS
from .common import Arch, check_ours, count_classes, rename, shapes_of, with_counters

EPS = 1e-5  # of every batch norm, theirs and ours
_BLOBS = ('weight', 'bias', 'running_mean', 'running_var')  # in the order of a Caffe layer


def from_caffe(blobs: Mapping[str, Sequence[np.ndarray]], arch: Arch) -> dict[str, Tensor]:
    """State dict from weights in the layer naming of the authors' deploy files.

    Args:
        blobs: The arrays of each layer that has any. BN: scale, shift, moving mean and moving inverse
            standard deviation 1 / sqrt(var + 1e-5), each (C,), (1, C) or (1, C, 1, 1). Convolution: weight.
            Inner product: weight and bias.
        arch: attention56, attention92, attentionnext56 or attentionnext92, or one of these at another width
            or with another number of attention modules.

    Raises:
        ValueError: Arrays are missing, unexpected, misshaped or no inverse deviations, or `arch` is another network.
    """
    cfg = _caffe_arch(arch)
    names = caffe_keys(cfg)
    source = {f'{layer}[{i}]': array for layer, arrays in blobs.items() for i, array in enumerate(arrays)}
    state = rename(source, names, shapes_of(cfg, count_classes(source, names['head.fc.bias'])))
    for key in state:
        if key.endswith('running_var'):
            state[key] = _variance(state[key], names[key])
    return with_counters(state)


def to_caffe(state_dict: Mapping[str, Tensor], arch: Arch, *, bn_dims: int = 1) -> dict[str, list[np.ndarray]]:
    """Weights in the layer naming of the authors' deploy files, the inverse of `from_caffe`.

    Args:
        state_dict: State dict of the timm model; the batch counters have no place in Caffe.
        arch: As for `from_caffe`.
        bn_dims: Dimensions of the arrays of a BN layer: 1 for (C,), 2 for (1, C), the shape in the authors'
            Caffe at d0f0f95, 4 for (1, C, 1, 1), the shape in it at 2a6b2ff.

    Raises:
        ValueError: Keys are missing, unexpected or misshaped, or an argument has a value that is not allowed.
    """
    if bn_dims not in (1, 2, 4):
        raise ValueError(f'bn_dims={bn_dims!r} is not allowed: it must be 1, 2 or 4')
    cfg = _caffe_arch(arch)
    names = caffe_keys(cfg)
    state = check_ours(state_dict, cfg)
    blobs: dict[str, list[np.ndarray]] = {}
    for key, name in names.items():
        value = state[key].cpu()
        value = value.float() if value.dtype == torch.bfloat16 else value  # NumPy has none
        if key.endswith('running_var'):
            value = (value.double() + EPS).rsqrt().to(value.dtype)
        if value.dim() == 1 and key != 'head.fc.bias':
            value = value.reshape((1, -1, 1, 1)[:bn_dims] if bn_dims > 1 else -1)
        blobs.setdefault(name.rpartition('[')[0], []).append(value.numpy())
    return blobs


def _variance(inverse_deviation: Tensor, name: str) -> Tensor:
    inverse = inverse_deviation.double()  # in single precision eps would cost digits
    if not bool((inverse > 0).all() & inverse.isfinite().all()):
        raise ValueError(f'{name} is not allowed: an inverse standard deviation must be finite and greater than 0')
    return (inverse.pow(-2) - EPS).to(inverse_deviation.dtype)


def _caffe_arch(arch: Arch) -> ArchCfg:
    cfg = resolve_arch(arch)
    changes = min((changed_fields(cfg, ARCHS[name]) for name in ('attention56', 'attentionnext56')), key=len)
    for name in ('modules', 'width', 'img_size'):
        changes.pop(name, None)
    if changes:
        found = ', '.join(f'{name}={value!r}' for name, value in changes.items())
        raise ValueError(
            f'{"arch" if isinstance(arch, ArchCfg) else f"arch={arch!r}"} is not allowed: the authors published '
            'attention56, attention92, attentionnext56 and attentionnext92, and only modules, width and img_size may '
            f'differ, not {found}'
        )
    return cfg


def caffe_keys(cfg: ArchCfg) -> dict[str, str]:
    """`layer[position]` of the authors' array for each of our keys."""
    layers = CaffeNames(cfg).layers
    keys = {}
    for key in shapes_of(cfg, 1):
        module, _, kind = key.rpartition('.')
        keys[key] = f'{layers[module]}[{_BLOBS.index(kind)}]'
    return keys


class CaffeNames:
    """Follows the data through a network and notes the authors' name of each layer on the way.

    Their batch norm is named after what it reads, so every step takes the name of its input, `x`, and
    returns the name of its output.

    Attributes:
        layers: The authors' layer by our module.
    """

    def __init__(self, cfg: ArchCfg) -> None:
        self.preact = UNITS[cfg.stage_unit(0)].preact
        self.down, self.up = ('down_sample', 'up_sample') if self.preact else ('down', 'up')
        self.layers = {'stem.conv': 'conv1', 'stem.norm': 'conv1/bn', 'head.fc': 'classifier'}
        x, last = 'pool1_3x3_s2', len(cfg.modules)
        for s, (count, pools) in enumerate(zip(cfg.modules, cfg.mask_pools, strict=True)):
            x = self.unit(f'stages.{s}.0', f'pre_res_{s + 1}', x)
            for b in range(1, count + 1):
                x = self.attention(f'stages.{s}.{b}', f'Attention{"ABC"[s]}_{b}', x, cfg.t, pools)
        for b in range(cfg.post_units):
            x = self.unit(f'stages.{last}.{b}', f'post_res_{last + 1}_{b + 1}', x)
        self.layers['norm'] = f'{x}/bn'

    def unit(self, path: str, name: str, x: str) -> str:
        convs = [f'{name}/branch1/{conv}' for conv in ('conv1_1x1', 'conv2_3x3', 'conv3_1x1')]
        reads = [x, *convs] if self.preact else convs
        for i in range(3):
            self.layers[f'{path}.conv{i + 1}'] = convs[i]
            self.layers[f'{path}.norm{i + 1}'] = f'{reads[i]}/bn'
        shortcut = f'{name}/branch2/conv1_1x1'
        self.layers |= {
            f'{path}.shortcut': shortcut,
            f'{path}.shortcut.0': shortcut,
            f'{path}.shortcut.1': f'{shortcut}/bn',
        }
        return name

    def attention(self, path: str, name: str, x: str, t: int, pools: int) -> str:
        trunk = self.unit(f'{path}.pre.0', f'{name}/trunk/res1', x)
        for i in range(t):
            trunk = self.unit(f'{path}.trunk.{i}', f'{name}/trunk/res{i + 2}', trunk)
        mask = f'{name}/mask'
        self.hourglass(f'{path}.mask.hourglass', mask, 1, pools)
        self.layers |= {
            f'{path}.mask.norm1': f'{mask}/{self.up}/interp_1/bn',
            f'{path}.mask.conv1': f'{mask}/linear_1',
            f'{path}.mask.norm2': f'{mask}/linear_1/bn',
            f'{path}.mask.conv2': f'{mask}/linear_2',
        }
        return self.unit(f'{path}.post.0', name, f'{name}/fusion')

    def hourglass(self, path: str, mask: str, level: int, pools: int) -> None:
        down, up = f'{mask}/{self.down}', f'{mask}/{self.up}'
        x = self.unit(f'{path}.down.0', f'{down}/res{level}_1', f'{down}/pool{level}_3x3_s2')
        if level == pools:
            self.unit(f'{path}.up.0', f'{down}/res{level}_2', x)
        else:
            self.unit(f'{path}.skip', f'{mask}/skip/res{level}', x)
            self.hourglass(f'{path}.inner', mask, level + 1, pools)
            self.unit(f'{path}.up.0', f'{up}/res{level}_1', f'{up}{level}')
