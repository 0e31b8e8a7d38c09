"""Files that are there whole or not at all, whatever ends the process that writes them, and their words in messages.

The standard library alone.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

DRAFT = '.part-'  # begins the names of files that are being written
OLD = 3600.0  # seconds after which a draft is what a killed process has left
BLOCK = 2**20  # bytes that are compared or checked at a time


def printable(text: str) -> str:
    """Text from a file in a sentence: line ends and what would steer a terminal are escaped."""
    return ''.join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))


@contextmanager
def whole(path: str | Path, check: Callable[[Path], Any] | None = None) -> Iterator[Path]:
    """Another path to write to, which becomes the file when all is written, checked and on the disk.

    Until then the file stays as it was, and so it does where anything fails. A link stays a link to the file; what is
    no file, as a pipe or `/dev/stdout`, is written to directly.

    Args:
        path: The file; its folder is made where it is missing.
        check: Raises an error where what was written is not right.

    Raises:
        OSError: The file cannot be written: the disk is full, for one, or the folder read-only.
    """
    path = Path(path).expanduser()
    if Path('/dev') in path.parents or (path.exists() and not path.is_file() and not path.is_dir()):
        yield path
        return
    path = path.resolve()
    draft = path.with_name(f'{DRAFT}{os.getpid()}-{path.name}')  # with its ending, by which some writers choose
    try:
        if path.is_dir():
            raise IsADirectoryError(None, 'it is a folder')
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(None, 'it is read-only')
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_drafts(path.parent, path.name, OLD)
        yield draft
        if path.exists():
            shutil.copymode(path, draft)
        sync(draft)
        if check:
            check(draft)
        os.replace(draft, path)
        sync_folder(path.parent)
    except OSError as error:
        if error.filename and Path(error.filename) not in (draft, path, *path.parents):
            raise  # of a file that was to be read
        before = 'what it held before is untouched' if path.is_file() else 'nothing is left of it'
        raise OSError(f'file {str(path)!r} cannot be written, {error.strerror or error}: {before}') from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def write(path: str | Path, content: str | bytes, check: Callable[[Path], Any] | None = None) -> None:
    """Write text, in UTF-8, or bytes, and read them back before they become the file; see `whole`."""
    data = content.encode() if isinstance(content, str) else content
    with whole(path, check) as draft:
        draft.write_bytes(data)
        if draft.is_file():
            compare(draft, data)


def write_json(path: str | Path, found: Any, **kwargs: Any) -> None:
    """Write JSON with an indent of one; further arguments are those of `json.dumps`."""
    write(path, json.dumps(found, indent=1, **kwargs) + '\n')


def compare(path: Path, data: bytes) -> None:
    """Make sure that a file reads as what was written to it.

    Raises:
        OSError: It does not.
    """
    expected = memoryview(data)
    with path.open('rb') as file:
        same = all(file.read(BLOCK) == expected[i : i + BLOCK] for i in range(0, len(data), BLOCK))
        if not same or file.read(1):
            raise OSError('it does not read as it was written')


def intact(path: str | Path, ending: str = '') -> bool:
    """Whether a zip file, as `torch.save` and `numpy.savez` write, is whole by the CRC-32 of each of its members.

    Neither PyTorch nor its loader compares them. A member without one (PyTorch can be told to leave them out), and one
    that is packed, is taken for right: its reader notices where it is not. Of another kind of file it is true too.

    Args:
        path: The file.
        ending: Of the names of the members to look at.
    """
    with open(path, 'rb') as file:
        if file.read(2) != b'PK':
            return True
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.filename.endswith(ending) and member.CRC and member.compress_type == zipfile.ZIP_STORED:
                    with archive.open(member) as part:
                        while part.read(BLOCK):
                            pass
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError):
        return False
    return True


def check_zip(path: Path) -> None:
    """Raises an OSError where a zip file is not intact."""
    if not intact(path):
        raise OSError('it does not read as it was written')


def remove_drafts(folder: Path, name: str = '', older: float = 0.0) -> None:
    """Remove what killed processes have left in a folder.

    Args:
        folder: Where to look.
        name: Of the file that was being written; of every one by default.
        older: Seconds since the last change.
    """
    for draft in folder.glob(f'{DRAFT}*'):
        with suppress(OSError):
            if draft.name.endswith(f'-{name}' if name else '') and time.time() - draft.stat().st_mtime >= older:
                draft.unlink()


def sync(path: Path) -> None:
    """Wait until a file's content is on the disk."""
    with path.open('rb+') as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until a folder's names are on the disk, on systems that can tell."""
    with suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
