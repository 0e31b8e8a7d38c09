"""One work dir, one run: another config's run is not written over by accident."""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import files
from ...weights import mapping
from ...weights.read import peek
from ..data.switches import LOADERS

if TYPE_CHECKING:
    from mmengine.config import Config

MARKER = 'run.json'
LATEST = 'last_checkpoint'
RECORD = 'record.json'
INTERRUPTED = 'interrupted.pth'
RESUMABLE = 'epoch_*.pth', 'iter_*.pth', INTERRUPTED
CHECKPOINTS = *RESUMABLE, 'best_*.pth'
# Fields without influence on the trained weights; `load_from`, which a resumed run sets anew, is looked at by itself.
IGNORED = (
    'work_dir', 'launcher', 'resume', 'load_from', 'env_cfg', 'default_hooks', 'visualizer', 'vis_backends',
    'log_level', 'log_processor', 'model_wrapper_cfg',
)  # fmt: skip
IGNORED_IN_LOADERS = ('num_workers', 'persistent_workers', 'pin_memory')


def fingerprint(cfg: Config) -> str:
    """Digest of everything in a config that makes the result."""
    kept = {k: v for k, v in cfg.to_dict().items() if k not in IGNORED}
    for name in LOADERS:
        if kept.get(name):
            kept[name] = {k: v for k, v in kept[name].items() if k not in IGNORED_IN_LOADERS}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()


def start(cfg: Config) -> str | None:
    """The weights that a new run starts from, told from the current folder where they lie below; None from scratch."""
    path = cfg.get('load_from') or None
    return path if path is None or '://' in path else shown(path)


def held(folder: Path) -> dict[str, Any] | None:
    """What the folder's run has written of itself; None where there is no run that has."""
    marker = folder / MARKER
    try:
        return mapping(marker, 'marker') if marker.is_file() else None
    except ValueError:  # damaged: it is some run's
        return dict(fingerprint=None)


def check(cfg: Config) -> None:
    """Make sure that a new run may write into the work dir. Nothing is written yet.

    Raises:
        FileExistsError: The work dir holds a run of another config, or one that started from other weights.
    """
    folder = Path(cfg.work_dir)
    run = held(folder)
    if run is None:
        holds_another = any(path for pattern in CHECKPOINTS for path in folder.glob(pattern))
    else:
        holds_another = run['fingerprint'] != fingerprint(cfg) or run.get('load_from') != start(cfg)
    if holds_another:
        raise FileExistsError(
            f'work dir {str(folder)!r} already holds a run of another config: choose another --work-dir, '
            'go on with it by --resume, or replace it by --overwrite'
        )


def claim(cfg: Config, folder: Path, clean: bool, resumed: bool, sitting: str = '', iteration: int = 0) -> None:
    """Mark a work dir as this run's, and remove what another run would be mistaken for it by.

    Args:
        cfg: The run's config.
        folder: The work dir.
        clean: Remove another run's checkpoints too.
        resumed: The run goes on with the one that is there: it started where that one did.
        sitting: What the checkpoints that this process writes are known by (MMEngine's `experiment_name`).
        iteration: That it begins with.
    """
    before = held(folder) or {}
    files.remove_drafts(folder)
    origin = before.get('load_from') if resumed else start(cfg)
    entry = dict(config=cfg.filename, fingerprint=fingerprint(cfg), load_from=origin)
    if resumed and cfg.get('minutes'):  # a run by time is known by the epochs before it set its own
        entry = before or entry
    if not resumed or not before or 'sittings' in before:
        entry = dict(entry, sittings={**(before.get('sittings', {}) if resumed else {}), sitting: iteration})
    # First: killed after it, the run does not go on with another's checkpoints.
    files.write_json(folder / MARKER, entry)
    if not resumed:
        for name in (LATEST, RECORD):
            (folder / name).unlink(missing_ok=True)
        for path in [path for pattern in CHECKPOINTS for path in folder.glob(pattern)] if clean else ():
            path.unlink()


def newest(folder: Path) -> Path | None:
    """The work dir's newest checkpoint that is whole; what is passed over is told. None where there is none yet.

    It is the one of the most iterations among those of this run, whatever `last_checkpoint` says: a run may be killed
    before it is written, or that file be damaged. A run of an earlier version does not say which are its own, so that
    what it names is taken first.

    Raises:
        ValueError: There are checkpoints, and all are damaged.
    """
    sittings = (held(folder) or {}).get('sittings')
    found: list[tuple] = []
    passed: dict[str, Exception | None] = {}
    named = pointed(folder)
    for path in {path for pattern in RESUMABLE for path in folder.glob(pattern)} | {named} - {None}:
        try:
            meta = peek(path)['meta']
            if sittings is None or meta['iter'] <= until(sittings, meta['experiment_name']):
                found.append((sittings is None and path == named, meta['iter'], path == named, path))
        except (ValueError, LookupError, TypeError) as error:
            passed[path.name] = error
    chosen = None
    for *_, path in sorted(found, reverse=True):
        if files.intact(path):
            chosen = path
            break
        passed[path.name] = None
    if passed:
        names = f'{", ".join(sorted(passed))} in {str(folder)!r} {"is" if len(passed) == 1 else "are"} damaged'
        if chosen is None:
            why = next((f': {error}' for error in passed.values() if error), '')
            raise ValueError(f'{names}, and there is no other checkpoint to go on from: --overwrite starts anew{why}')
        if int(os.environ.get('RANK', 0)) == 0:
            print(f'warning: {names} and passed over: going on from {chosen.name}', file=sys.stderr)
    return chosen


def until(sittings: Mapping[str, int], name: str) -> float:
    """The iteration up to which a sitting's checkpoints are of the run, where a later one began; -1 of another run."""
    if name not in sittings:
        return -1
    names = list(sittings)
    return min([sittings[later] for later in names[names.index(name) + 1 :]], default=math.inf)


def pointed(folder: Path) -> Path | None:
    """The checkpoint that the work dir names as its latest, where it is there."""
    try:
        path = Path((folder / LATEST).read_text(encoding='utf-8').strip())
        path = path if path.is_file() else folder / path.name  # the work dir may have been moved
        return path if path.is_file() else None
    except (OSError, ValueError):
        return None


def shown(path: str) -> str:
    """A path from the current folder, where it lies below."""
    return os.path.relpath(path) if Path(path).resolve().is_relative_to(Path.cwd()) else str(path)
