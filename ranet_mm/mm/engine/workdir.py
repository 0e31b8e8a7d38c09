"""One work dir, one run: another config's run is not written over by accident."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmengine.config import Config

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
MARKER = 'run.json'
LATEST = 'last_checkpoint'
CHECKPOINTS = 'epoch_*.pth', 'iter_*.pth', 'best_*.pth', 'interrupted.pth'
# Fields without influence on the trained weights.
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


def check(cfg: Config) -> None:
    """Make sure that a new run may write into the work dir. Nothing is written yet.

    Raises:
        FileExistsError: The work dir holds a run of another config.
    """
    folder = Path(cfg.work_dir)
    marker = folder / MARKER
    if marker.is_file():
        holds_another = json.loads(marker.read_text())['fingerprint'] != fingerprint(cfg)
    else:
        holds_another = any(path for pattern in CHECKPOINTS for path in folder.glob(pattern))
    if holds_another:
        raise FileExistsError(
            f'work dir {str(folder)!r} already holds a run of another config: choose another --work-dir, '
            'go on with it by --resume, or replace it by --overwrite'
        )


def latest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint that the work dir names as its latest; None where there is none."""
    pointer = folder / LATEST
    if not pointer.is_file():
        return None
    path = Path(pointer.read_text().strip())
    return path if path.is_file() else folder / path.name  # the work dir may have been moved
