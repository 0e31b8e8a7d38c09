"""Checkpoints: read without running code from them, and refused where they belong to another network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from ..registry import HOOKS


def _history_getattr(obj: Any, name: str) -> Any:
    """Stands in for the `getattr` that MMEngine's checkpoints ask for: methods of its history buffers alone."""
    if obj is HistoryBuffer and name in ('min', 'max', 'current', 'mean'):
        return getattr(obj, name)
    raise UnpicklingError(f'the file asks for {name!r} of {obj!r}')


def safe_globals() -> list:
    """What MMEngine's checkpoints hold besides tensors and plain data, for `torch.serialization.safe_globals`."""
    multiarray = getattr(np, '_core', None) or np.core
    multiarray = multiarray.multiarray
    dtypes = ('Float64DType', 'Float32DType', 'Int64DType', 'Int32DType', 'UInt32DType', 'BoolDType')
    found = [HistoryBuffer, np.ndarray, np.dtype, slice, (_history_getattr, 'builtins.getattr')]
    for module in ('numpy._core.multiarray', 'numpy.core.multiarray'):
        found += [(multiarray._reconstruct, f'{module}._reconstruct'), (multiarray.scalar, f'{module}.scalar')]
    return found + [getattr(np.dtypes, name) for name in dtypes]


def allow_mmengine_checkpoints() -> None:
    """Let MMEngine resume where PyTorch reads files safely, for versions of MMEngine that cannot by themselves."""
    from mmengine.runner import checkpoint

    if not hasattr(checkpoint, 'get_torch_safe_globals'):
        torch.serialization.add_safe_globals(safe_globals())


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU; nothing but tensors, plain data and MMEngine's histories is accepted.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, no checkpoint, or holds other objects.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'checkpoint {str(path)!r} does not exist')
    try:
        with torch.serialization.safe_globals(safe_globals()):
            checkpoint = torch.load(path, map_location='cpu', weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, KeyError, OSError) as error:
        raise ValueError(f'checkpoint {str(path)!r} cannot be read: {_reason(error)}') from error
    if not isinstance(checkpoint, dict) or not weights_of(checkpoint):
        raise ValueError(f'checkpoint {str(path)!r} holds no weights')
    return checkpoint


def _reason(error: Exception) -> str:
    unsafe = re.search(r'GLOBAL ([\w.]+) was not an allowed', str(error))
    return f'it holds {unsafe[1]}, which is not safe to load' if unsafe else 'it is damaged or no checkpoint'


def weights_of(checkpoint: Mapping) -> dict[str, Tensor]:
    """The tensors of a checkpoint, bare or under `state_dict`."""
    weights = checkpoint.get('state_dict', checkpoint)
    return {k: v for k, v in weights.items() if isinstance(v, Tensor)}


def check_loadable(path: str | Path) -> None:
    """Read a local file to the end, so that a wrong one is refused before anything is built; see `read_checkpoint`."""
    if '://' not in str(path):
        read_checkpoint(path)


def check_resumable(path: str | Path) -> None:
    """Make sure that training can go on from a file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It cannot be read, or has no state of a training run.
    """
    missing = [k for k in ('meta', 'optimizer', 'message_hub') if k not in read_checkpoint(path)]
    if missing:
        raise ValueError(
            f'checkpoint {str(path)!r} cannot be resumed from, it has no {", ".join(missing)}: start from its weights '
            'by --cfg-options load_from=PATH'
        )


@HOOKS.register_module()
class CheckpointGuardHook(Hook):
    """Refuse a checkpoint of another network; MMEngine only logs it and leaves weights random.

    When training starts from a checkpoint (`load_from`), only the backbone must fit: the rest is trained anew
    where it differs.

    Raises:
        ValueError: Keys or shapes differ; the sentence lists the first of them and both architectures.
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        ours = unwrapped(runner.model).state_dict()
        theirs = checkpoint.get('state_dict', checkpoint)
        fine_tuning = runner._train_loop is not None and not runner._resume
        if fine_tuning:
            self._drop_misfits(runner, ours, theirs)
        differences = mismatches(ours, theirs, prefix='backbone.' if fine_tuning else '')
        if differences:
            raise ValueError(
                f'checkpoint does not fit the model: {"; ".join(differences[:4])}'
                f'{f" and {len(differences) - 4} more" if len(differences) > 4 else ""}. '
                f'The model is {describe(runner.cfg)}, the checkpoint is {checkpoint_architecture(checkpoint)}'
            )

    @staticmethod
    def _drop_misfits(runner: Runner, ours: Mapping[str, Tensor], theirs: dict[str, Tensor]) -> None:
        misfits = [
            k for k in theirs if not k.startswith('backbone.') and k in ours and theirs[k].shape != ours[k].shape
        ]
        for key in misfits:
            runner.logger.warning(
                f'{key} is trained anew: the checkpoint has {tuple(theirs.pop(key).shape)}, '
                f'the model {tuple(ours[key].shape)}'
            )


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside wrappers for distributed training and for test-time augmentation."""
    while is_model_wrapper(model) or type(model).__name__.endswith('TTA'):
        model = model.module
    return model


def mismatches(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], prefix: str = '') -> list[str]:
    """Clauses about keys (with `prefix`) that are missing, unexpected or of another shape."""
    found = []
    for key in [*ours, *(k for k in theirs if k not in ours)]:
        if not key.startswith(prefix):
            continue
        if key not in theirs:
            found.append(f'{key} is missing')
        elif key not in ours:
            found.append(f'{key} is unexpected')
        elif ours[key].shape != theirs[key].shape:
            found.append(f'{key} has shape {tuple(theirs[key].shape)} instead of {tuple(ours[key].shape)}')
    return found


def describe(cfg: Mapping) -> str:
    """Type and options of a config's backbone."""
    model = cfg.get('model') or {}
    while 'module' in model:
        model = model['module']
    backbone = model.get('backbone') or {}
    options = ', '.join(f'{k}={v!r}' for k, v in backbone.items() if k not in ('type', 'init_cfg'))
    return f'{backbone.get("type", "unknown")}({options})'


def checkpoint_architecture(checkpoint: Mapping) -> str:
    """Architecture that a checkpoint's own config names, or else what its weights tell."""
    text = checkpoint.get('meta', {}).get('cfg')
    if isinstance(text, str):
        return describe(Config.fromstring(text, '.py'))
    weights = weights_of(checkpoint)
    count = sum(v.numel() for v in weights.values())
    return f'of unknown architecture: {count:,} values, the first of them {next(iter(weights), None)!r}'
