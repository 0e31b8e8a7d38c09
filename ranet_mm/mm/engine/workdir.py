"""One work dir, one run: another config's run is not written over by accident."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...weights import mapping
from ..data.switches import LOADERS

if TYPE_CHECKING:
    from mmengine.config import Config

MARKER = 'run.json'
LATEST = 'last_checkpoint'
RECORD = 'record.json'
INTERRUPTED = 'interrupted.pth'
CHECKPOINTS = 'epoch_*.pth', 'iter_*.pth', 'best_*.pth', INTERRUPTED
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
    return mapping(marker, 'marker') if marker.is_file() else None


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


def claim(cfg: Config, folder: Path, clean: bool, resumed: bool) -> None:
    """Mark a work dir as this run's, and remove what another run would be mistaken for it by.

    Args:
        cfg: The run's config.
        folder: The work dir.
        clean: Remove another run's checkpoints too.
        resumed: The run goes on with the one that is there: it started where that one did.
    """
    before = held(folder) or {}
    if not resumed:
        for name in (LATEST, RECORD):
            (folder / name).unlink(missing_ok=True)
        for path in [path for pattern in CHECKPOINTS for path in folder.glob(pattern)] if clean else ():
            path.unlink()
    if resumed and cfg.get('minutes'):  # a run by time is known by the epochs before it set its own
        return
    origin = before.get('load_from') if resumed else start(cfg)
    entry = dict(config=cfg.filename, fingerprint=fingerprint(cfg), load_from=origin)
    (folder / MARKER).write_text(json.dumps(entry, indent=1) + '\n')


def latest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint that the work dir names as its latest; None where there is none."""
    pointer = folder / LATEST
    if not pointer.is_file():
        return None
    path = Path(pointer.read_text().strip())
    return path if path.is_file() else folder / path.name  # the work dir may have been moved


def shown(path: str) -> str:
    """A path from the current folder, where it lies below."""
    return os.path.relpath(path) if Path(path).resolve().is_relative_to(Path.cwd()) else str(path)
