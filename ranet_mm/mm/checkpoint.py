"""Checkpoints: read without running code from them, and refused where they belong to another network."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Mapping
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import BaseLoop, CheckpointLoader, Runner
from torch import Tensor, nn

from ..registry import HOOKS

QUOTES = '\'"'
FIRST_CONV = 'stem.conv.weight'


def _history_getattr(obj: Any, name: str) -> Any:
    """Stands in for the `getattr` that MMEngine's checkpoints ask for: methods of its history buffers alone."""
    if obj is HistoryBuffer and name in ('min', 'max', 'current', 'mean'):
        return getattr(obj, name)
    raise UnpicklingError(f'the file asks for {name!r} of {obj!r}')


def safe_globals() -> list:
    """What MMEngine's checkpoints hold besides tensors and plain data, for `torch.serialization.add_safe_globals`."""
    multiarray = getattr(np, '_core', None) or np.core
    multiarray = multiarray.multiarray
    dtypes = ('Float64DType', 'Float32DType', 'Int64DType', 'Int32DType', 'UInt32DType', 'BoolDType')
    found = [HistoryBuffer, np.ndarray, np.dtype, slice, (_history_getattr, 'builtins.getattr')]
    for module in ('numpy._core.multiarray', 'numpy.core.multiarray'):
        found += [(multiarray._reconstruct, f'{module}._reconstruct'), (multiarray.scalar, f'{module}.scalar')]
    return found + [getattr(np.dtypes, name) for name in dtypes]


def use_safe_reader() -> None:
    """Have MMEngine read local files by `read_checkpoint`, in resuming, `load_from` and `init_cfg` alike.

    MMEngine 0.10.7 by itself cannot resume with PyTorch 2.6 or later, and the maintained release runs the code in a
    file that it cannot read safely. Neither reads safetensors.
    """
    CheckpointLoader.register_scheme(prefixes='', loader=load_from_disk, force=True)


def load_from_disk(filename: str, map_location: Any = None) -> dict[str, Any]:
    """`read_checkpoint` as MMEngine calls it, which logs this name without its first ten characters."""
    checkpoint = read_checkpoint(filename, map_location)
    if isinstance(checkpoint.get('meta'), dict):
        checkpoint['meta'].pop('config', None)  # MMEngine would run this text, and writes none itself
    return checkpoint


def read_checkpoint(path: str | Path, map_location: Any = 'cpu') -> dict[str, Any]:
    """Read a checkpoint; nothing but tensors, plain data and MMEngine's histories is accepted.

    Args:
        path: File of `torch.save`, or of weights alone where the name ends in `.safetensors`.
        map_location: Where tensors go, as in `torch.load`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, no checkpoint, or holds other objects.
        ModuleNotFoundError: The file needs safetensors, which is not installed.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        raise ValueError(f'checkpoint {str(path)!r} is a folder: name one of the files in it')
    if not file.is_file():
        raise FileNotFoundError(f'checkpoint {str(path)!r} does not exist')
    read = _read_safetensors if file.suffix == '.safetensors' else _read_pickled
    try:
        checkpoint = read(file, map_location)
    except (UnpicklingError, RuntimeError, EOFError, KeyError, OSError, ValueError) as error:
        raise ValueError(f'checkpoint {str(path)!r} cannot be read: {_reason(error)}') from error
    if not isinstance(checkpoint, dict) or not weights_of(checkpoint):
        raise ValueError(f'checkpoint {str(path)!r} holds no weights')
    return checkpoint


def _read_pickled(file: Path, map_location: Any) -> Any:
    # Not in the context `torch.serialization.safe_globals`, which on leaving takes from others what they allowed too.
    torch.serialization.add_safe_globals(safe_globals())
    return torch.load(file, map_location=map_location, weights_only=True)


def _read_safetensors(file: Path, map_location: Any) -> dict[str, Any]:
    if find_spec('safetensors') is None:
        raise ModuleNotFoundError(f'checkpoint {str(file)!r} needs safetensors: pip install safetensors')
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights = load_file(file)
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    device = map_location if isinstance(map_location, str | torch.device) else 'cpu'
    return dict(state_dict={key: value.to(device) for key, value in weights.items()})


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


def check_resumable(path: str | Path) -> dict[str, Any]:
    """Make sure that training can go on from a file, and give what it holds.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It cannot be read, or has no state of a training run.
    """
    checkpoint = read_checkpoint(path)
    missing = [k for k in ('meta', 'optimizer', 'message_hub') if k not in checkpoint]
    if missing:
        raise ValueError(
            f'checkpoint {str(path)!r} cannot be resumed from, it has no {", ".join(missing)}: start from its weights '
            'by --cfg-options load_from=PATH'
        )
    return checkpoint


@HOOKS.register_module()
class CheckpointGuardHook(Hook):
    """Refuse a checkpoint of another network; MMEngine only logs it and leaves weights random.

    When training starts from a checkpoint (`load_from`), only the backbone must fit, which adapts its first convolution
    to other channels by itself: the rest is trained anew where it differs.

    Raises:
        ValueError: Keys or shapes differ; the sentence lists the first of them and both architectures.
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        ours = own_weights(runner.model)
        if not ours:
            return
        theirs = checkpoint['state_dict'] = classifier_keys(checkpoint.get('state_dict', checkpoint), ours)
        training = isinstance(runner._train_loop, BaseLoop)  # built by then; a test leaves the config's as it is
        fine_tuning = training and not runner._resume
        if fine_tuning:
            self._drop_misfits(runner, ours, theirs)
        options = dict(prefix='backbone.', adapted=[f'backbone.{FIRST_CONV}']) if fine_tuning else {}
        differences = mismatches(ours, theirs, **options)
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


def own_weights(model: nn.Module) -> dict[str, Tensor]:
    """The model's weights; where each process holds a part of them, the first process gets all and the others none."""
    from torch.distributed.fsdp import FullyShardedDataParallel

    sharded = isinstance(model, FullyShardedDataParallel)
    return model.state_dict() if sharded else unwrapped(model).state_dict()


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside wrappers for distributed training and for test-time augmentation."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def mismatches(
    ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], prefix: str = '', adapted: Collection[str] = ()
) -> list[str]:
    """Clauses about keys (with `prefix`) that are missing, unexpected or, unless `adapted`, of another shape."""
    found = []
    for key in [*ours, *(k for k in theirs if k not in ours)]:
        if not key.startswith(prefix):
            continue
        if key not in theirs:
            found.append(f'{key} is missing')
        elif key not in ours:
            found.append(f'{key} is unexpected')
        elif ours[key].shape != theirs[key].shape and key not in adapted:
            found.append(f'{key} has shape {tuple(theirs[key].shape)} instead of {tuple(ours[key].shape)}')
    return found


def classifier_keys(weights: dict[str, Tensor], ours: Collection[str]) -> dict[str, Tensor]:
    """Weights of the timm model under the keys of an OpenMMLab classifier; others are left as they are."""
    if any(k in ours for k in weights if not k.startswith('head.')):
        return weights
    renamed = {k if k.startswith('head.') else f'backbone.{k}': v for k, v in weights.items()}
    return renamed if any(k in ours for k in renamed) else weights


def describe(cfg: Mapping) -> str:
    """Type and options of a config's backbone."""
    model = cfg.get('model') or {}
    while 'module' in model:
        model = model['module']
    return _call({k: repr(v) for k, v in (model.get('backbone') or {}).items()})


def _call(backbone: Mapping[str, str]) -> str:
    options = ', '.join(f'{k}={v}' for k, v in backbone.items() if k not in ('type', 'init_cfg'))
    return f'{backbone.get("type", "unknown").strip(QUOTES)}({options})'


def checkpoint_architecture(checkpoint: Mapping) -> str:
    """Architecture that a checkpoint's own config names, or else what its weights tell."""
    text = checkpoint.get('meta', {}).get('cfg')
    backbone = backbone_in(text) if isinstance(text, str) else {}
    if backbone:
        return _call(backbone)
    weights = weights_of(checkpoint)
    count = sum(v.numel() for v in weights.values())
    modules = attention_modules(weights)
    of = f'with {modules} attention modules in its stages' if modules else 'of unknown architecture'
    return f'{of}: {count:,} values, the first of them {next(iter(weights), None)!r}'


def backbone_in(text: str) -> dict[str, str]:
    """Options of the backbone in the text of a config, as they are written there; nothing of it is run."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return {}
    node = {t.id: s.value for s in tree.body if isinstance(s, ast.Assign) for t in s.targets if isinstance(t, ast.Name)}
    node = _arguments(node.get('model'))
    while 'module' in node:
        node = _arguments(node['module'])
    return {k: ast.unparse(v) for k, v in _arguments(node.get('backbone')).items()}


def _arguments(node: ast.AST | None) -> dict[str, ast.expr]:
    return {k.arg: k.value for k in node.keywords if k.arg} if isinstance(node, ast.Call) else {}


def attention_modules(weights: Collection[str]) -> str:
    """`1, 2, 3` for three stages of so many attention modules; empty for a network that is not ours."""
    found = {match.groups() for key in weights if (match := re.search(r'\bstages\.(\d+)\.(\d+)\.trunk\.', key))}
    stages = [stage for stage, _ in found]
    return ', '.join(str(stages.count(stage)) for stage in sorted(set(stages), key=int))
