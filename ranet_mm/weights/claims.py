"""What a file claims, held against what it holds: a short one may claim a terabyte, or have no end."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import ZipFile, is_zipfile

import torch
from torch import Tensor

TIMES, SPARE = 4, 2**20  # what tensors that share memory, or repeat a value, may have beyond the bytes of their file
PACKED = 100
DEPTH = 100  # of containers in each other
VALUES = 10**7  # of all containers, each counted as often as it is met


class ClaimError(ValueError):
    """A file claims what it does not hold; the message goes on from `checkpoint ... cannot be read: `."""


def check_parts(file: Path, packed: bool = False) -> None:
    """Refuse an archive whose parts unpack to more than the file: `torch.save` compresses nothing.

    Args:
        file: Any file; one that is no archive is left to its reader.
        packed: Whether parts may be compressed, as NumPy does: to a `PACKED`th.

    Raises:
        ClaimError: They do.
        BadZipFile: The archive is damaged.
    """
    if not is_zipfile(file):
        return
    with ZipFile(file) as archive:
        unpacked = sum(part.file_size for part in archive.infolist())
    if unpacked > (size := file.stat().st_size) * (PACKED if packed else 1):
        raise ClaimError(f'its parts unpack to {unpacked:,} bytes, and it has {size:,}')


def check_content(found: Any, size: int, meta: bool = False) -> None:
    """Refuse plain data and tensors that are more than a file of this size can hold.

    Args:
        found: What was read: containers of plain data and tensors.
        size: Of the file, in bytes.
        meta: Whether tensors without values are asked for.

    Raises:
        ClaimError: Containers contain themselves or are met too often, or tensors repeat what little the file has.
    """
    claimed, values = 0, {}

    def count(value: Any, depth: int = 0) -> int:
        nonlocal claimed
        if isinstance(value, Tensor):
            claimed += bytes_of(value, meta)
        parts = parts_of(value)
        if parts is None:
            return 1
        if depth > DEPTH or (id(value) in values and values[id(value)] is None):
            raise ClaimError('what it holds is nested without end')
        if id(value) not in values:
            values[id(value)] = None
            values[id(value)] = 1 + sum(count(part, depth + 1) for part in parts)
        return values[id(value)]

    if count(found) > VALUES:
        raise ClaimError('what it holds is nested without end')
    if claimed > TIMES * size + SPARE and not meta:
        raise ClaimError(f'its tensors claim {claimed:,} bytes, and it has {size:,}')


def bytes_of(tensor: Tensor, meta: bool) -> int:
    """What the values of a tensor take, once each has a place of its own."""
    if tensor.layout is not torch.strided or (tensor.is_meta and not meta):
        raise ClaimError('it holds a tensor without all of its values')
    return tensor.numel() * tensor.element_size()


def parts_of(value: Any) -> list[Any] | None:
    """What a container contains; None of another value."""
    if isinstance(value, Mapping):
        return [*value.keys(), *value.values()]
    if isinstance(value, list | tuple | set | frozenset):
        return [*value]
    return [*vars(value).values()] if isinstance(value, argparse.Namespace) else None
