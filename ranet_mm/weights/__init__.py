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
    """The rows of a folder's `index.json` (`FOLDER` where left out), `file` as a full path and lists as tuples."""
    folder = FOLDER if folder is None else folder
    rows = json.loads(Path(folder, 'index.json').read_text(encoding='utf-8'))
    for row in rows.values():
        row.update({k: tuple(v) for k, v in row.items() if isinstance(v, list)})
        row['file'] = str(Path(folder, row['file']))
    return rows


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
