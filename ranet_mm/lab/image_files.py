"""Image files that a command line names: by path, by folder or by pattern."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

# Formats that Pillow recognizes and cannot decode by itself.
UNDECODED = ('BUFR', 'GRIB', 'HDF5', 'MPEG')
ALLOWED = (
    'allowed are image files, folders that hold some (whose names end as in .jpg or .png, hidden ones left out), '
    "and quoted patterns as in 'photos/**/*.jpg'"
)


def find(arguments: Sequence[str]) -> list[str]:
    """Each image once, the arguments in their order and the images of one in natural order.

    Raises:
        FileNotFoundError: A path does not exist, or nothing matches a pattern.
        ValueError: A folder holds no image.
    """
    found = {}
    for argument in arguments:
        for path in sorted(named(argument), key=lambda path: (natural(path), path)):
            found.setdefault(os.path.abspath(path), path)
    return list(found.values())


def natural(name: str) -> list[Any]:
    """A key to sort names by in which numbers count as numbers."""
    return [int(part) if part.isdecimal() else part for part in re.split(r'(\d+)', name)]


def named(argument: str) -> list[str]:
    """What one argument names: a file of whatever ending, or the images of a folder or a pattern; see `find`."""
    if os.path.isdir(argument):
        if found := [*below(argument)]:
            return found
        raise ValueError(f'folder {argument!r} holds no image: {ALLOWED}')
    if os.path.exists(argument):
        return [argument]
    if glob.escape(argument) == argument:
        raise FileNotFoundError(f'image {argument!r} does not exist: {ALLOWED}')
    found = []
    for match in glob.glob(argument, recursive=True):
        found += below(match) if os.path.isdir(match) else filter(is_image, [match])
    if not found:
        raise FileNotFoundError(f'pattern {argument!r} matches no image: {ALLOWED}')
    return found


def below(folder: str, above: Sequence[str] = ()) -> Iterator[str]:
    """The images of a folder and its subfolders, links too; `above` are those on the way, to go round in no circle."""
    real = os.path.realpath(folder)
    if real in above:
        return
    for entry in os.scandir(folder):
        if entry.name.startswith('.'):
            continue
        if entry.is_dir():
            yield from below(entry.path, (*above, real))
        elif is_image(entry.name):
            yield entry.path


def is_image(name: str) -> bool:
    """Whether a name ends as those of a format do that Pillow reads."""
    from PIL import Image

    known = Image.registered_extensions().get(os.path.splitext(name)[1].lower())
    return known in Image.OPEN and known not in UNDECODED
