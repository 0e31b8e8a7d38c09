"""Image files: those in a folder, and those that a command line names by path, by folder or by pattern."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

# Formats that Pillow recognizes and cannot decode by itself.
UNDECODED = ('BUFR', 'EPS', 'GRIB', 'HDF5', 'MPEG', 'WMF')
ALSO_READ = ('MPO',)  # by the reader of JPEG
# What systems and servers leave in folders without a dot before it.
LEFT_BY_SYSTEMS = ('$recycle.bin', '@eadir', '__macosx', 'desktop.ini', 'system volume information', 'thumbs.db')
ALLOWED = (
    'allowed are image files, folders that hold some (whose names end as in .jpg or .png, hidden ones left out), '
    "and quoted patterns as in 'photos/**/*.jpg'"
)
MOST = 5  # endings that are told

Endings = Counter[str]


def find(arguments: Sequence[str], log: Callable[[str], Any] | None = None) -> list[str]:
    """Each image once, the arguments in their order and the images of one in natural order.

    Args:
        arguments: Paths, folders and patterns.
        log: Takes a line that says which files of folders are left out; by default a hint on standard error.

    Raises:
        FileNotFoundError: A path does not exist, or nothing matches a pattern.
        ValueError: A folder holds no image.
    """
    found, left = {}, Counter()
    for argument in arguments:
        for path in sorted(named(argument, left), key=lambda path: (natural(path), path)):
            found.setdefault(os.path.abspath(path), path)
    if left:
        (log or hint)(left_out(left))
    return list(found.values())


def hint(line: str) -> None:
    print(f'hint: {line}', file=sys.stderr)


def natural(name: str) -> list[Any]:
    """A key to sort names by in which numbers count as numbers."""
    return [int(part) if part.isdecimal() else part for part in re.split(r'(\d+)', name)]


def named(argument: str, left: Endings) -> list[str]:
    """What one argument names: a file of whatever ending, or the images of a folder or a pattern; see `find`."""
    if os.path.isdir(argument):
        if found := [*below(argument, left=left)]:
            return found
        raise ValueError(f'folder {argument!r} holds no image: {ALLOWED}')
    if os.path.exists(argument):
        return [argument]
    if glob.escape(argument) == argument:
        raise FileNotFoundError(f'image {argument!r} does not exist: {ALLOWED}')
    found = []
    for match in glob.glob(argument, recursive=True):
        met = {*match.lower().split(os.sep)} - {*argument.lower().split(os.sep)}  # by wildcards, which take no dot
        if met.isdisjoint(LEFT_BY_SYSTEMS):
            found += below(match, left=left) if os.path.isdir(match) else filter(is_image, [match])
    if not found:
        raise FileNotFoundError(f'pattern {argument!r} matches no image: {ALLOWED}')
    return found


def below(
    folder: str | os.PathLike,
    above: Sequence[str] = (),
    wanted: Callable[[str], bool] | None = None,
    left: Endings | None = None,
) -> Iterator[str]:
    """The images of a folder and its subfolders, links too, in no order; what is hidden is passed over.

    Args:
        folder: Where to look.
        above: Real paths of the folders on the way, where links may not lead back to: they would go round in a circle.
        wanted: Says by a file's name whether it is an image; `is_image` by default.
        left: Counts other files by the endings of their names.
    """
    real = os.path.realpath(folder)
    if real in above:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_hidden(entry.name):
                continue
            if is_folder(entry):
                yield from below(entry.path, (*above, real), wanted, left)
            elif (wanted or is_image)(entry.name):
                yield entry.path
            elif left is not None:
                left[os.path.splitext(entry.name)[1].lower()] += 1


def folders(folder: str | os.PathLike) -> list[str]:
    """The names of the folders in a folder, links too, in order; hidden ones are passed over."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if not is_hidden(entry.name) and is_folder(entry))


def is_folder(entry: os.DirEntry) -> bool:
    """Whether it is a folder or a link to one; a link to itself is none."""
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is no one's data: `.ipynb_checkpoints`, `._cat.png`, `Thumbs.db`."""
    return name.startswith('.') or name.lower() in LEFT_BY_SYSTEMS


def is_image(name: str) -> bool:
    """Whether a name ends as those of a format do that Pillow reads."""
    from PIL import Image

    known = Image.registered_extensions().get(os.path.splitext(name)[1].lower())
    return known in (*Image.OPEN, *ALSO_READ) and known not in UNDECODED


def left_out(left: Endings) -> str:
    """A line that says how many files, with which endings, are left out."""
    count = left.total()
    kinds = [f'{number} {ending or "without an ending"}' for ending, number in left.most_common(MOST)]
    more = ', ...' if len(left) > MOST else ''
    return f'{count} {"file" if count == 1 else "files"} left out as no images: {", ".join(kinds)}{more}'
