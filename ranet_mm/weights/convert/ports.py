"""Ports that people have weights for: tengshaofeng's in PyTorch and gluon-cv's in MXNet.

They add features that the authors do not add, so their weights need their graph, `compat`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from ...arch import ARCHS, ArchCfg
from ..keys import COUNTER
from .common import count_classes, rename, shapes_of, with_counters

logger = logging.getLogger(__name__)


def from_tengshaofeng(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict from tengshaofeng's ResidualAttentionModel_92_32input_update, _92 or _56.

    Its weights need its graph: build the network that `tengshaofeng_arch` returns. Its units declare a shortcut
    convolution that they use on a change of shape alone; the others are dropped, and their number logged.

    Args:
        state_dict: Tensors of github.com/tengshaofeng/ResidualAttentionNetwork-pytorch.

    Raises:
        ValueError: Keys are missing, unexpected or misshaped.
    """
    cfg = tengshaofeng_arch(state_dict)
    names, dead = tengshaofeng_keys(cfg)
    source = {key: value for key, value in state_dict.items() if key not in dead and not key.endswith(COUNTER)}
    state = rename(source, names, shapes_of(cfg, count_classes(source, names['head.fc.bias'])))
    dropped = len(dead & set(state_dict))
    logger.info('dropped %d shortcut convolutions that the network declares and never uses', dropped)
    return with_counters(state)


def tengshaofeng_keys(cfg: ArchCfg) -> tuple[dict[str, str], set[str]]:
    """tengshaofeng's key for each of ours, and those of the shortcuts that no input reaches."""
    layers = PortNames(cfg).layers
    names = {}
    for key in shapes_of(cfg, 1):
        module, _, kind = key.rpartition('.')
        names[key] = f'{layers[module]}.{kind}'
    shortcuts = {f'{layer}.weight' for module, layer in layers.items() if module.endswith('.shortcut')}
    return names, shortcuts - set(names.values())


def tengshaofeng_arch(state_dict: Mapping[str, Any]) -> ArchCfg:
    """The variant that a state dict of tengshaofeng's belongs to."""
    modules = tuple(_distinct(state_dict, rf'attention_module{s}(_\d+)?\.') for s in (1, 2, 3))
    return replace(_port_layout(state_dict), modules=modules, compat='tengshaofeng')


def from_gluoncv(params: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """State dict from gluon-cv's residualattentionnet* or cifar_residualattentionnet*.

    Its weights need its graph: build the network that `gluoncv_arch` returns.

    Args:
        params: Arrays by parameter name, as `save_parameters` writes them: `conv1.0.weight`, ...

    Raises:
        ValueError: Parameters are missing, unexpected or misshaped.
    """
    cfg = gluoncv_arch(params)
    names = gluoncv_keys(cfg)
    return with_counters(rename(params, names, shapes_of(cfg, count_classes(params, names['head.fc.bias']))))


def gluoncv_keys(cfg: ArchCfg) -> dict[str, str]:
    """gluon-cv's parameter for each of our keys."""
    layers, shapes, names = PortNames(cfg).layers, shapes_of(cfg, 1), {}
    for key in shapes:
        module, _, kind = key.rpartition('.')
        if f'{module}.running_var' in shapes:
            kind = dict(weight='gamma', bias='beta').get(kind, kind)
        names[key] = f'{layers[module]}.{kind}'
    return names


def gluoncv_arch(params: Mapping[str, Any]) -> ArchCfg:
    """The variant that parameters of gluon-cv's belong to."""
    first = r'attention_module1\.0\.'
    return replace(
        _port_layout(params),
        modules=tuple(_distinct(params, rf'attention_module{s}\.\d+\.') for s in (1, 2, 3)),
        p=_distinct(params, rf'{first}first_residual_blocks\.\d+\.'),
        t=_distinct(params, rf'{first}trunk_branches\.\d+\.'),
        r=_distinct(params, rf'{first}softmax1_blocks\.\d+\.'),
        compat='gluoncv',
    )


def _port_layout(source: Mapping[str, Any]) -> ArchCfg:
    stem = np.shape(source.get('conv1.0.weight', ()))
    return ARCHS['attention56' if stem[-1:] == (7,) else 'attention56_cifar']


def _distinct(source: Mapping[str, Any], pattern: str) -> int:
    """Beginnings of keys that match, but 1 where there are none: what is missing is said later."""
    found = (re.match(pattern, key) for key in source)
    return max(1, len({match.group() for match in found if match}))


class PortNames:
    """Names the layers of a port after ours.

    Attributes:
        layers: The port's layer by our module.
    """

    def __init__(self, cfg: ArchCfg) -> None:
        self.cfg, self.gluon = cfg, cfg.compat == 'gluoncv'
        self.layers = {'stem.conv': 'conv1.0', 'stem.norm': 'conv1.1', 'norm': 'mpool2.0', 'head.fc': 'fc'}
        last = len(cfg.modules)
        for s, (count, pools) in enumerate(zip(cfg.modules, cfg.mask_pools, strict=True)):
            self.unit(f'stages.{s}.0', f'residual_block{s + 1}')
            for b in range(1, count + 1):
                later = f'_{b}' if b > 1 else ''
                number = f'.{b - 1}' if self.gluon else later
                self.attention(f'stages.{s}.{b}', f'attention_module{s + 1}{number}', max(1, pools))
        for b in range(cfg.post_units):
            self.unit(f'stages.{last}.{b}', f'residual_block{last + 1 + b}')

    def unit(self, path: str, name: str) -> None:
        for i in (1, 2, 3):
            self.layers[f'{path}.norm{i}'] = f'{name}.bn{i}'
            self.layers[f'{path}.conv{i}'] = f'{name}.conv{i}'
        self.layers[f'{path}.shortcut'] = f'{name}.conv4'

    def units(self, path: str, name: str, count: int, first: int = 0) -> None:
        for i in range(count):
            self.unit(f'{path}.{i}', f'{name}.{first + i}')

    def row(self, path: str, name: str, count: int) -> None:
        """Units of a number that one port fixes at 1, and then does not count."""
        if self.gluon:
            self.units(path, name, count)
        else:
            self.unit(f'{path}.0', name)

    def attention(self, path: str, name: str, lowest: int) -> None:
        cfg, hourglass = self.cfg, f'{path}.mask.hourglass'
        if self.gluon or cfg.stem_pool:
            downs = [f'softmax{level}_blocks' for level in range(1, lowest)]
            bottom, head = f'softmax{lowest}_blocks', f'softmax{2 * lowest}_blocks'
            ups = [f'softmax{2 * lowest - level}_blocks' for level in range(1, lowest)]
        else:
            downs = [f'down_residual_blocks{level}' for level in range(1, lowest)]
            bottom, head = 'middle_2r_blocks', 'conv1_1_blocks'
            ups = [f'up_residual_blocks{level}' for level in range(1, lowest)]
        self.row(f'{path}.pre', f'{name}.first_residual_blocks', cfg.p)
        self.units(f'{path}.trunk', f'{name}.trunk_branches', cfg.t)
        self.unit(f'{path}.post.0', f'{name}.last_blocks')
        for level, (down, up) in enumerate(zip(downs, ups, strict=True), start=1):
            self.row(f'{hourglass}.down', f'{name}.{down}', cfg.r)
            self.unit(f'{hourglass}.skip', f'{name}.skip{level}_connection_residual_block')
            self.row(f'{hourglass}.up', f'{name}.{up}', cfg.r)
            hourglass += '.inner'
        self.units(f'{hourglass}.down', f'{name}.{bottom}', cfg.r)
        self.units(f'{hourglass}.up', f'{name}.{bottom}', cfg.r, first=cfg.r)
        for ours, index in dict(norm1=0, conv1=2, norm2=3, conv2=5).items():
            self.layers[f'{path}.mask.{ours}'] = f'{name}.{head}.{index}'
