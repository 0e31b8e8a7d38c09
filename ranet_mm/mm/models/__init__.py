"""What `ranet_mm.registry.MODELS` offers: the parts of a classifier."""

from importlib.util import find_spec

from .backbone import ResidualAttentionNet
from .neck import ResidualAttentionNeck

__all__ = ['ResidualAttentionNeck', 'ResidualAttentionNet']

if find_spec('mmpretrain') is not None:  # a detector or segmentor needs no classification head
    from .head import ResidualAttentionHead

    __all__ += ['ResidualAttentionHead']
