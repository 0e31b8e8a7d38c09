"""What a classifier says of each image, written as it comes."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from .. import files

LINES = '.jsonl'  # ending of a file of lines, which is added to


def ranked(path: str, scores: Tensor, names: Sequence[str]) -> dict[str, Any]:
    """An image with its classes, the most probable one first."""
    pairs = sorted(zip(scores.tolist(), names, strict=True), key=lambda pair: -pair[0])
    return dict(image=path, predictions=[dict(label=name, probability=p) for p, name in pairs])


@contextmanager
def stored(path: Path | None, name: str, lines: Lines | None) -> Iterator[Callable[[dict[str, Any]], Any]]:
    """What takes each image, for the file that is asked for; a file of no image is not written."""
    if path is None or lines:
        yield lines.add if lines else lambda image: None
        return
    with ExitStack() as stack:
        yield Whole(path, name, stack).add


class Whole:
    """`{"weights": ..., "images": [...]}`, image by image, so that no more than one is text at a time.

    Args:
        path: The file, which is there when `stack` is left.
        name: Of the weights.
        stack: Ends and closes the file.
    """

    def __init__(self, path: Path, name: str, stack: ExitStack) -> None:
        self.path, self.name, self.stack, self.file = path, name, stack, None

    def add(self, image: dict[str, Any]) -> None:
        if self.file is None:
            draft = self.stack.enter_context(files.whole(self.path))
            self.file = self.stack.enter_context(draft.open('w', encoding='utf-8'))
            self.file.write(f'{{\n "weights": {json.dumps(self.name)},\n "images": [\n')
            self.stack.callback(self.file.write, '\n ]\n}\n')
        else:
            self.file.write(',\n')
        self.file.write(textwrap.indent(json.dumps(image, indent=1), '  '))


class Lines:
    """A file with a line of JSON for each image, `{"weights": ..., "image": ..., "predictions": [...]}`.

    Each line is written at once and as a whole. A run that was cut off goes on with the images that have none; what it
    left of its last line is taken away.

    Attributes:
        done: The images that have a line.

    Raises:
        ValueError: The file is another, or of other weights.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name, self.done, end = path, name, set(), 0
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            return
        with path.open('rb') as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b'\n'):
                    break
                self.done.add(self._image(line, number))
                end += len(line)
        os.truncate(path, end)

    def _image(self, line: bytes, number: int) -> str:
        try:
            found = json.loads(line)
            image, name = found['image'], found['weights']
        except (ValueError, KeyError, TypeError, RecursionError):
            raise ValueError(f'line {number} of {str(self.path)!r} is no prediction: name another file') from None
        if name != self.name:
            raise ValueError(
                f'line {number} of {str(self.path)!r} is of weights {name!r}, not {self.name!r}: name another file'
            )
        return image

    def add(self, image: dict[str, Any]) -> None:
        line = json.dumps(dict(weights=self.name, **image)) + '\n'
        with self.path.open('ab', buffering=0) as file:
            file.write(line.encode())
