"""Residual Attention Networks (arXiv:1704.06904) for timm and OpenMMLab."""

from importlib.util import find_spec

from .arch import ARCHS, ArchCfg, resolve_arch
from .network import RANetFeatures

__version__ = '0.1.0'
__all__ = ['ARCHS', 'ArchCfg', 'RANetFeatures', 'resolve_arch']

if find_spec('timm'):
    from .timm.residual_attention import RANet

    __all__ += ['RANet']

if find_spec('mmpretrain'):
    from . import hub

    hub.list_models()
