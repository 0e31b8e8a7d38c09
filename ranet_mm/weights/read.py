"""The one reader of checkpoints: timm's, OpenMMLab's and bare weights, without running code from a file."""

from __future__ import annotations

import argparse
import json
import re
import zipfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import files
from . import OWN_FIELDS, claims, digest, form, index, keys, showing

ABOUT = 'ranet_mm'  # under this name a published file says what model it holds, as timm's own config.json does
PLACES = 'state_dict', 'model', 'module'  # where timm looks for weights


def read(path: str | Path, map_location: Any = 'cpu') -> dict[str, Any]:
    """Read a checkpoint; nothing but tensors, plain data, timm's options and MMEngine's histories is accepted.

    Args:
        path: File of `torch.save`, or of weights alone where the name ends in `.safetensors`.
        map_location: Where tensors go, as in `torch.load`.

    Returns:
        What the file holds, with its weights under `state_dict`, whose keys no wrapper has changed.

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
    if file.suffix == '.safetensors' and find_spec('safetensors') is None:
        raise ModuleNotFoundError(f'checkpoint {str(file)!r} needs safetensors: pip install safetensors')
    try:
        checkpoint = _checked(file, map_location)
    except Exception as error:  # readers raise whatever they come upon in a damaged file
        raise ValueError(f'checkpoint {str(path)!r} cannot be read: {_reason(error)}') from error
    if not tensors(checkpoint['state_dict']):
        raise ValueError(f'checkpoint {str(path)!r} holds no weights')
    if not described(checkpoint):
        raise ValueError(f'checkpoint {str(path)!r} cannot be read: what it says of itself under meta is damaged')
    return checkpoint


def _checked(file: Path, map_location: Any) -> dict[str, Any]:
    """What a file holds, no more than fits in it, with its weights under `state_dict`."""
    claims.check_parts(file)
    files.check_zip(file)
    checkpoint = (_safetensors if file.suffix == '.safetensors' else _pickled)(file, map_location)
    claims.check_content(checkpoint, file.stat().st_size, str(map_location) == 'meta')
    place = next((p for p in PLACES if isinstance(checkpoint, dict) and isinstance(checkpoint.get(p), dict)), None)
    if place is None:
        checkpoint = dict(state_dict=checkpoint if isinstance(checkpoint, dict) else {})
    else:
        checkpoint['state_dict'] = checkpoint.pop(place)
    checkpoint['state_dict'] = keys.unwrapped(checkpoint['state_dict'])
    return checkpoint


def peek(path: str | Path) -> dict[str, Any]:
    """What a file of `torch.save` holds, its tensors mapped and not read, for a look at what it says of itself.

    Raises:
        ValueError: It is damaged where that stands, no checkpoint, or holds other objects.
    """
    try:
        if not files.intact(path, 'data.pkl'):
            raise ValueError('damaged')
        found = _pickled(Path(path), 'cpu', mmap=zipfile.is_zipfile(path))
    except Exception as error:  # readers raise whatever they come upon in a damaged file
        raise ValueError(f'checkpoint {str(path)!r} cannot be read: {_reason(error)}') from error
    return found


def described(checkpoint: Mapping[str, Any]) -> bool:
    """Whether what stands beside the weights is in the form that those who write it have, or is not there."""
    meta, args = checkpoint.get('meta') or {}, getattr(checkpoint.get('args'), '__dict__', {})
    averages = [checkpoint.get(name) or {} for name in ('ema_state_dict', 'state_dict_ema')]
    if not all(isinstance(part, dict) and all(map(form.text, part)) for part in (meta, *averages)):
        return False
    if not isinstance(meta.get('dataset_meta') or {}, Mapping) or form.wrong(args, form.ARGUMENTS):
        return False
    return form.text(checkpoint.get('arch') or '') and not (meta.get(ABOUT) and form.wrong_fields(meta[ABOUT]))


def tensors(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """What of a state is tensors."""
    return {key: value for key, value in state.items() if isinstance(value, Tensor)}


def weights_of(checkpoint: Mapping[str, Any], averaged: bool | None = None) -> tuple[dict[str, Tensor], bool]:
    """The weights of what `read` gave, and whether they are averages over the run.

    Args:
        checkpoint: What `read` gave.
        averaged: Take the averages (True), the weights as trained (False), or averages where there are some.

    Raises:
        ValueError: Averages are asked for and there are none.
    """
    state, kept, of_timm = (checkpoint.get(key) for key in ('state_dict', 'ema_state_dict', 'state_dict_ema'))
    if averaged and kept is None and of_timm is None:
        raise ValueError('--ema is not allowed: the checkpoint has no averaged weights')
    averaged = averaged is not False and not kept is of_timm is None
    if averaged and of_timm is not None:
        state = keys.unwrapped(of_timm)
    elif not averaged and kept is not None:  # MMEngine swaps the two before it saves
        state = {**state, **keys.unwrapped({k: v for k, v in kept.items() if k.startswith('module.')})}
    return tensors(state), averaged


def resumable(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint that training can go on from.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It cannot be read, or has no state of a training run.
    """
    checkpoint = read(path)
    missing = [k for k in ('meta', 'optimizer', 'message_hub') if k not in checkpoint]
    if missing:
        raise ValueError(
            f'checkpoint {str(path)!r} cannot be resumed from, it has no {", ".join(missing)}: start from its weights '
            'by --cfg-options load_from=PATH'
        )
    return checkpoint


def npz(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a NumPy file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It cannot be read, unpacks to more than `claims` allows, or holds other objects than numbers.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'arrays {str(path)!r} do not exist')
    try:
        claims.check_parts(Path(path), packed=True)
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as error:  # NumPy raises whatever it comes upon in a damaged file
        raise ValueError(f'arrays {str(path)!r} cannot be read: {error}') from error


def _pickled(file: Path, map_location: Any, mmap: bool = False) -> Any:
    # Not in the context `torch.serialization.safe_globals`, which on leaving takes from others what they allowed too.
    torch.serialization.add_safe_globals(safe_globals())
    return torch.load(file, map_location=map_location, weights_only=True, mmap=mmap)


def safe_globals() -> list:
    """What checkpoints of timm and MMEngine hold besides tensors and plain data, for `add_safe_globals`."""
    multiarray = getattr(np, '_core', None) or np.core
    multiarray = multiarray.multiarray
    dtypes = ('Float64DType', 'Float32DType', 'Int64DType', 'Int32DType', 'UInt32DType', 'BoolDType')
    found = [argparse.Namespace, np.ndarray, np.dtype, slice]  # timm keeps its options in a namespace
    for module in ('numpy._core.multiarray', 'numpy.core.multiarray'):
        found += [(multiarray._reconstruct, f'{module}._reconstruct'), (multiarray.scalar, f'{module}.scalar')]
    if find_spec('mmengine'):
        from mmengine.logging import HistoryBuffer

        found += [HistoryBuffer, (_history_getattr, 'builtins.getattr')]
    return found + [getattr(np.dtypes, name) for name in dtypes]


def _history_getattr(obj: Any, name: str) -> Any:
    """Stands in for the `getattr` that MMEngine's checkpoints ask for: methods of its history buffers alone."""
    from mmengine.logging import HistoryBuffer

    if obj is HistoryBuffer and name in ('min', 'max', 'current', 'mean'):
        return getattr(obj, name)
    raise UnpicklingError(f'the file asks for {name!r} of {obj!r}')


def _safetensors(file: Path, map_location: Any) -> dict[str, Any]:
    from safetensors import safe_open

    device = map_location if isinstance(map_location, str | torch.device) else 'cpu'
    with safe_open(file, 'pt') as opened:
        state = {key: opened.get_tensor(key).to(device) for key in opened.keys()}  # noqa: SIM118
        said = (opened.metadata() or {}).get(ABOUT)
    about = json.loads(said) if said else shipped(file)
    return dict(state_dict=state, **(dict(meta={ABOUT: about}) if about else {}))


def shipped(file: Path) -> dict[str, Any] | None:
    """The description of weights that ship, wherever their file lies; None of another file.

    They say nothing themselves; the index does: they are for RGB images, shown as timm shows them.
    """
    found = digest(file)
    name, row = next(((name, row) for name, row in index().items() if row['sha256'] == found), (None, {}))
    if name is None:
        return None
    cfg = {k: showing.listed(v) for k, v in row.items() if k not in ('file', *OWN_FIELDS)}
    args = showing.listed(row.get('model_args', {}))
    architecture = name.partition('.')[0]
    return dict(architecture=architecture, model_args=args, pretrained_cfg=cfg, order=showing.RGB, exclusive=True)


def _reason(error: Exception) -> str:
    if isinstance(error, claims.ClaimError):
        return str(error)
    unsafe = re.search(r'GLOBAL ([\w.]+) (?:was not an allowed|whose module)', str(error))
    return f'it holds {unsafe[1]}, which is not safe to load' if unsafe else 'it is damaged or no checkpoint'
