"""Registries of scope `ranet_mm`: `type='ranet_mm.X'` builds in any OpenMMLab config, without an import.

MMEngine imports this module when it meets the scope, then the module that a registry names as its location.
Keep it tiny: an ImportError raised here is reported by MMEngine as "X is not in the registry".
"""

from mmengine import registry as root
from mmengine.registry import Registry


def _child(name: str, *locations: str) -> Registry:
    parent = getattr(root, name)
    return Registry(parent.name, parent=parent, scope='ranet_mm', locations=[f'ranet_mm.mm.{m}' for m in locations])


MODELS = _child('MODELS', 'models')
DATASETS = _child('DATASETS', 'datasets', 'device_data')
DATA_SAMPLERS = _child('DATA_SAMPLERS', 'device_data')
FUNCTIONS = _child('FUNCTIONS', 'device_data')
TRANSFORMS = _child('TRANSFORMS', 'datasets')
HOOKS = _child('HOOKS', 'hooks')
LOOPS = _child('LOOPS', 'loops')
OPTIMIZERS = _child('OPTIMIZERS', 'muon')
OPTIM_WRAPPERS = _child('OPTIM_WRAPPERS', 'optim')
RUNNERS = _child('RUNNERS', 'runner')
STRATEGIES = _child('STRATEGIES', 'strategy')
