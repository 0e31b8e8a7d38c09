"""Weights of other implementations in our keys, strictly: every array is used, every key is filled.

State dicts have the keys of the timm model of the variant's name; OpenMMLab's put `backbone.` before all
but the head's. `docs/converting.md` shows the commands.
"""

from .caffe import from_caffe, to_caffe
from .deepen import deepened
from .ports import from_gluoncv, from_tengshaofeng, gluoncv_arch, tengshaofeng_arch

__all__ = [
    'deepened',
    'from_caffe',
    'from_gluoncv',
    'from_tengshaofeng',
    'gluoncv_arch',
    'tengshaofeng_arch',
    'to_caffe',
]
