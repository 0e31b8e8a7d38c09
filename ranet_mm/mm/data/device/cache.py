"""Decoded images in one file beside the data: decoded once, in parallel, and mapped into memory after that."""

from __future__ import annotations

import hashlib
import pickle
import sys
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor

from .... import files, weights

BLOCK = 256  # images that are decoded at a time
FEW = 2048  # images that are decoded sooner than data workers start


def decoded(count: int, picture: Callable[[int], Tensor], workers: int) -> Tensor:
    """`picture(0)`, ..., `picture(count - 1)`, all (C, H, W) uint8 of one shape, as one tensor (N, C, H, W).

    Args:
        count: Number of images.
        picture: Decodes one of them.
        workers: Processes that share them out; few are decoded in this one.
    """
    loader = torch.utils.data.DataLoader(
        range(count),
        BLOCK,
        collate_fn=lambda block: torch.stack([picture(index) for index in block]),
        num_workers=workers if count > FEW and sys.platform == 'linux' else 0,  # `picture` goes there by a fork alone
        generator=torch.Generator(),  # nothing is drawn; without one the process's own would move on
    )
    images = None
    for start, part in zip(range(0, count, BLOCK), loader, strict=True):
        if images is None:
            images = torch.empty((count, *part.shape[1:]), dtype=torch.uint8)
        images[start : start + BLOCK] = part
    return images


def cached(folder: Path, identity: str, decode: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `decode` gives, read from the folder where it is there, and written into it where it is not.

    Args:
        folder: Made where it is missing; one that cannot be written is told in the log.
        identity: Says what is decoded, and how; the file's name is its digest.
        decode: Gives `images`, and what else is to be kept.

    Raises:
        ValueError: The file is damaged.
    """
    path = folder / f'{hashlib.sha256(identity.encode()).hexdigest()[:20]}.pt'
    if path.is_file():
        return read(path, identity)
    content = decode()
    try:
        write(path, identity, content)
    except OSError as error:
        print_log(f'Decoded images are not kept in {str(folder)!r}: {error}', logger='current')
    return content


def write(path: Path, identity: str, content: Mapping[str, Any]) -> None:
    """A file of the cache, which is there whole or not at all."""
    with files.whole(path) as draft:
        weights.dump(dict(content, identity=identity, crc32=zlib.crc32(content['images'].numpy())), draft)


def read(path: Path, identity: str) -> dict[str, Any]:
    """A file of the cache, its tensors mapped into memory.

    Raises:
        ValueError: It is damaged, or not of these data.
    """
    fault = f'cache file {str(path)!r} is not allowed: it is damaged or of other data; remove it, and it is made anew'
    try:
        content = torch.load(path, map_location='cpu', weights_only=True, mmap=True)
        right = (content['identity'], content['crc32']) == (identity, zlib.crc32(content['images'].numpy()))
    except (OSError, RuntimeError, EOFError, LookupError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise ValueError(fault) from error
    if not right:
        raise ValueError(fault)
    return content
