"""Trained weights that ship inside the package.

Each is a safetensors file in this folder and a row of `index.json`: name and tag, as in
`attention56_cifar.cifar10`, then `file`, `sha256` and fields of timm's pretrained configuration
(`num_classes`, `mean`, `std`, ...) that differ from the variant's own, as do the network's options in `model_args`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import files
from . import keys

FOLDER = Path(__file__).parent
OWN_FIELDS = ('sha256', 'model_args')  # that timm's pretrained configuration has not


def index(folder: str | Path | None = None) -> dict[str, dict[str, Any]]:
    """The rows of a folder's `index.json` (`FOLDER` where left out), `file` as a full path and lists as tuples.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no mapping of names to rows, or a file is not one of safetensors in the folder.
    """
    folder = FOLDER if folder is None else folder
    rows = mapping(path := Path(folder, 'index.json'), 'index')
    for row in rows.values():
        if not isinstance(row, dict):
            raise ValueError(f'index {str(path)!r} cannot be read: a mapping of names to rows is expected')
        file = row.get('file')
        if not isinstance(file, str) or Path(file).name != file or Path(file).suffix != '.safetensors':
            raise ValueError(
                f'index {str(path)!r} cannot be read: file={file!r} is not allowed: it must be the name of a file of '
                'safetensors beside it'
            )
        row.update({k: tuple(v) for k, v in row.items() if isinstance(v, list)})
        row['file'] = str(Path(folder, file))
    return rows


def mapping(path: str | Path, what: str) -> dict[str, Any]:
    """What a file of JSON says, a mapping.

    Args:
        path: Of the file.
        what: Its name in errors.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no text, no JSON or something else.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'{what} {str(path)!r} does not exist')
    try:
        found = json.loads(Path(path).read_text(encoding='utf-8'))
    except (ValueError, RecursionError, OSError) as error:
        raise ValueError(f'{what} {str(path)!r} cannot be read: {error}') from error
    if not isinstance(found, dict):
        raise ValueError(f'{what} {str(path)!r} cannot be read: a mapping of names to rows is expected')
    return found


def verify(path: str | Path, sha256: str) -> None:
    """Make sure that a file is the one that was published.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Its SHA-256 is another.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'weights {str(path)!r} do not exist: install the package anew')
    found = digest(path)
    if found != sha256:
        raise ValueError(
            f'weights {str(path)!r} are damaged or were replaced: their SHA-256 is {found}, {sha256} was published'
        )


def digest(path: str | Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def save(state: Mapping[str, Tensor], folder: str | Path, name: str, **fields: Any) -> Path:
    """Write weights as safetensors and put their row into the folder's `index.json`.

    Args:
        state: Weights of a timm model or of an OpenMMLab classifier of ours.
        folder: Where the file goes; `FOLDER` ships with the package.
        name: Name and tag, as in `attention56_cifar.cifar10`.
        **fields: The rest of the row: fields of timm's pretrained configuration, and `model_args`.

    Returns:
        The file written.
    """
    from safetensors.torch import save as packed

    path, listing = Path(folder, f'{name}.safetensors'), Path(folder, 'index.json')
    files.write(path, packed({k: value.detach().cpu().contiguous() for k, value in keys.plain(state).items()}))
    rows = json.loads(listing.read_text(encoding='utf-8')) if listing.is_file() else {}
    rows[name] = dict(file=path.name, sha256=digest(path), **fields)
    files.write(listing, json.dumps(rows, indent=2) + '\n')
    return path


def dump(content: Any, draft: Path) -> None:
    """`torch.save`, whose errors of a full disk are an OSError; the file does not tell the name it was written by."""
    with draft.open('wb') as buffer:
        try:
            torch.save(content, buffer)
        except RuntimeError as error:
            raise error.__context__ if isinstance(error.__context__, OSError) else error from None
