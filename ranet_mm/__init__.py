"""Residual Attention Networks (arXiv:1704.06904) for timm and OpenMMLab."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from . import hub
from .arch import ARCHS, ArchCfg, resolve_arch
from .attention import AttentionMaps, attention_maps
from .deployment import deploy
from .network import RANetFeatures

__version__ = '0.1.0'
__all__ = ['ARCHS', 'ArchCfg', 'AttentionMaps', 'RANetFeatures', 'attention_maps', 'deploy', 'resolve_arch']

hub.list_models()

if find_spec('timm'):
    __all__ += ['RANet']


def __getattr__(name: str) -> Any:
    """`RANet`, the model in timm, is imported when it is asked for."""
    if name != 'RANet':
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return import_module('ranet_mm.timm.residual_attention').RANet
