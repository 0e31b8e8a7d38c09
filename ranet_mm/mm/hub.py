"""The models of `model-index.yml` under their names in mmpretrain: `get_model`, `list_models`, the inferencers.

`import ranet_mm` is enough, before or after mmpretrain, which it does not import itself.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

PACKAGE = Path(__file__).parents[1]
HUB = 'mmpretrain.apis.model'
NO_WEIGHTS = 'ranet_mm-none://'


def register() -> None:
    """Put the models into mmpretrain's hub, now or as soon as mmpretrain is imported."""
    if HUB in sys.modules:
        _register(sys.modules[HUB])
    elif not any(isinstance(finder, _HubFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _HubFinder())


class _HubFinder(MetaPathFinder):
    """Registers the models when mmpretrain's hub is imported; of other modules it knows nothing."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != HUB:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_and_register(module: ModuleType) -> None:
            execute(module)
            _register(module)

        spec.loader.exec_module = execute_and_register
        return spec


def _register(module: ModuleType) -> None:
    """Register the models, if they are not yet; those without weights get an address that says so when it is loaded."""
    from mmengine.runner import CheckpointLoader

    from . import shipped  # noqa: F401 - lets MMEngine read shipped weights

    hub, root = module.ModelHub, index_folder()
    if hub.has('att56_cifar10'):
        return
    before = set(hub._models_dict)
    hub.register_model_index(root / 'model-index.yml', config_prefix=root)
    ours = {name: info for name, info in hub._models_dict.items() if name not in before}
    with_weights = [name for name, info in ours.items() if info.weights]
    for name, info in ours.items():
        info.weights = info.weights or NO_WEIGHTS + name

    def load_from_nowhere(filename: str, map_location: Any = None) -> NoReturn:
        raise ValueError(
            f'{filename.removeprefix(NO_WEIGHTS)!r} has no pretrained weights; models that have some: '
            f'{", ".join(sorted(with_weights))}. Set pretrained to False, or to your own checkpoint'
        )

    CheckpointLoader.register_scheme(NO_WEIGHTS, load_from_nowhere, force=True)


def index_folder() -> Path:
    """Where `model-index.yml` and the configs are: in the installed package, or in the checkout."""
    installed = PACKAGE / '.mim'
    return installed if (installed / 'model-index.yml').is_file() else PACKAGE.parent
