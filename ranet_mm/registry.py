"""Registries of scope `ranet_mm`: `type='ranet_mm.X'` builds in any OpenMMLab config, without an import.

MMEngine imports this module when it meets the scope, then the module that a registry names as its location.
Keep it tiny: an ImportError raised here is reported by MMEngine as "X is not in the registry".
"""

from importlib.util import find_spec

from mmengine import registry as root
from mmengine.registry import Registry

from .hub import read_safely, write_safely

_CLASSIFICATION = ['data.device'] if find_spec('mmpretrain') else []  # a detector needs none of its data


def _child(name: str, *locations: str) -> Registry:
    parent = getattr(root, name)
    return Registry(parent.name, parent=parent, scope='ranet_mm', locations=[f'ranet_mm.mm.{m}' for m in locations])


MODELS = _child('MODELS', 'models', 'engine.ema', *_CLASSIFICATION)
DATASETS = _child('DATASETS', 'data.datasets', 'data.device')
DATA_SAMPLERS = _child('DATA_SAMPLERS', 'data.device')
FUNCTIONS = _child('FUNCTIONS', 'data.device')
TRANSFORMS = _child('TRANSFORMS', 'data.load_image')
HOOKS = _child('HOOKS', 'engine.hooks')
LOOPS = _child('LOOPS', 'engine.loops')
OPTIMIZERS = _child('OPTIMIZERS', 'engine.muon')
OPTIM_WRAPPERS = _child('OPTIM_WRAPPERS', 'engine.optim')
RUNNERS = _child('RUNNERS', 'engine.runner')
STRATEGIES = _child('STRATEGIES', 'engine.strategy')

read_safely()
write_safely()
