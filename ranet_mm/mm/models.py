"""What `ranet_mm.registry.MODELS` offers."""

from importlib.util import find_spec

from .backbone import ResidualAttentionNet
from .ema import ExponentialMovingAverage
from .neck import ResidualAttentionNeck
from .shipped import load_from_package

__all__ = ['ExponentialMovingAverage', 'ResidualAttentionNeck', 'ResidualAttentionNet', 'load_from_package']

if find_spec('mmpretrain') is not None:  # a detector or segmentor needs no classification head
    from .device_data import DevicePreprocessor
    from .head import ResidualAttentionHead

    __all__ += ['DevicePreprocessor', 'ResidualAttentionHead']
