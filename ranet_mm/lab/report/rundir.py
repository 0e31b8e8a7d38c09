"""What a run has left in its work dir: record, config, checkpoint, and what it logged."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...mm.engine.workdir import CHECKPOINTS, MARKER, RECORD, held, newest
from ...weights import mapping

Points = list[tuple[float, float]]  # iteration, value


@dataclass
class Curves:
    """What changed over a run, by iterations."""

    loss: Points = field(default_factory=list)
    rate: Points = field(default_factory=list)  # learning rate
    scores: dict[str, Points] = field(default_factory=dict)  # of each metric on the images to validate on
    epoch: float | None = None  # iterations of one, where the run has epochs


@dataclass
class Run:
    """A work dir; what it does not hold is None or empty."""

    folder: Path
    record: dict[str, Any]
    config: Path | None
    checkpoint: Path | None
    curves: Curves

    @property
    def name(self) -> str:
        return self.record.get('name') or (self.config.stem if self.config else self.folder.resolve().name)


def open_run(folder: Path) -> Run:
    """Read a work dir, of this package's runner or of MMEngine's.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: No run has left anything there, or its record cannot be read.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f'run {str(folder)!r} is not a folder')
    record, logged = read_record(folder), list(sittings(folder))
    run = Run(folder, record, find_config(folder), find_checkpoint(folder), curves(record, logged))
    if not (record or logged or run.checkpoint):
        raise ValueError(
            f'run {str(folder)!r} is not allowed: no {RECORD}, scalars.json or checkpoint of a run is there'
        )
    return run


def read_record(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    return mapping(path, 'record') if path.is_file() else {}


def find_config(folder: Path) -> Path | None:
    """The config that MMEngine wrote with all options in it; of several the one that the run's marker names."""
    found = sorted(folder.glob('*.py'))
    if len(found) > 1 and (folder / MARKER).is_file():
        found = [path for path in found if path.name == Path(held(folder)['config']).name] or found
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def find_checkpoint(folder: Path) -> Path | None:
    """The last one, whose test the record tells; else the newest file, which may be of the best epoch alone."""
    there = [path for pattern in CHECKPOINTS for path in folder.glob(pattern)]
    last = newest(folder)
    if last and last.resolve().parent == folder.resolve():  # of a copied run, it may be a file of the original
        return last
    return max(there, key=lambda path: path.stat().st_mtime, default=None)


def sittings(folder: Path) -> Iterator[list[dict[str, Any]]]:
    """What each process logged that trained here, one after the other; half a line at the end is left out."""
    for path in sorted(folder.glob('*/vis_data/scalars.json')):
        found = []
        for line in path.read_text(encoding='utf-8').splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:  # cut off when the process ended
                continue
        yield [entry for entry in found if isinstance(entry, dict)]


def curves(record: dict[str, Any], logged: Sequence[list[dict[str, Any]]]) -> Curves:
    """From what was logged, or else from the record. A later sitting replaces what lies after its start."""
    points = record.get('curve', [])
    by_epoch = any('epoch' in point for entries in [points, *logged] for point in entries)
    epochs, iterations = record.get('epochs'), record.get('iterations')
    found = Curves(epoch=iterations / epochs if by_epoch and epochs and iterations else None)
    for entries in logged:
        found = cut(found, min((e['iter'] for e in entries if 'iter' in e), default=float('inf')))
        for entry in entries:
            add(found, entry)
    if not found.loss:
        for point in points:
            step = point.get('epoch', point.get('iteration', 0))
            add(found, dict(point, iter=step * (found.epoch or 1)))
            add(found, {name: value for name, value in point.items() if '/' in name} | dict(step=step))
    return found


def cut(curves: Curves, start: float) -> Curves:
    """Without what a sitting that starts at this iteration does again."""

    def before(points: Points) -> Points:
        return [point for point in points if point[0] < start]

    scores = {name: before(points) for name, points in curves.scores.items()}
    return Curves(before(curves.loss), before(curves.rate), scores, curves.epoch)


def add(curves: Curves, entry: dict[str, Any]) -> None:
    """One line of a log: of training it has `iter`, of validation `step` alone, in epochs where training has them."""
    if 'iter' in entry:
        for name, points in (('loss', curves.loss), ('lr', curves.rate)):
            if name in entry:
                points.append((entry['iter'], entry[name]))
        return
    step, last = entry.get('step', 0), curves.loss[-1][0] if curves.loss else 0
    when = step * curves.epoch if curves.epoch else step or last
    for name, value in entry.items():
        if '/' in name and isinstance(value, int | float):
            curves.scores.setdefault(name, []).append((when, value))
