"""Train a model from a config."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from . import common

if TYPE_CHECKING:
    from mmengine.config import Config

RUN_FILE = 'run.json'


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='train', description=__doc__)
    common.add_common_options(parser)
    parser.add_argument(
        '--resume', nargs='?', const='auto', metavar='CHECKPOINT',
        help='go on from a checkpoint, by default from the latest in the work dir',
    )  # fmt: skip
    parser.add_argument('--overwrite', action='store_true', help='start anew in a work dir that holds another run')
    parser.add_argument('--no-validate', action='store_true', help='do not evaluate during training')
    parser.add_argument('--auto-scale-lr', action='store_true', help='scale the learning rate with the batch size')
    parser.add_argument('--no-persistent-workers', action='store_true', help='start data workers anew each epoch')
    return common.parse(parser, argv)


def configure(args: argparse.Namespace) -> Config:
    """The config with the command line's options applied."""
    cfg = common.load_config(args)
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp:
        cfg.optim_wrapper.type = 'ranet_mm.AutoAmpOptimWrapper'
    if args.auto_scale_lr:
        cfg.auto_scale_lr.enable = True
    if args.no_persistent_workers:
        for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
            if cfg.get(name):
                cfg[name].persistent_workers = False
    if args.resume:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
    return cfg


def claim_work_dir(cfg: Config, args: argparse.Namespace) -> None:
    """Mark the work dir as this config's, unless it holds a run of another one.

    Raises:
        FileExistsError: The work dir holds another run, and neither `--resume` nor `--overwrite` is given.
    """
    folder, digest = Path(cfg.work_dir), fingerprint(cfg)
    marker = folder / RUN_FILE
    holds_run = marker.is_file() or any(folder.glob('*.pth'))
    theirs = json.loads(marker.read_text())['fingerprint'] if marker.is_file() else None
    if holds_run and theirs != digest and not (args.resume or args.overwrite):
        raise FileExistsError(
            f'work dir {str(folder)!r} already holds a run of another config: choose another --work-dir, '
            'go on with it by --resume, or replace it by --overwrite'
        )
    if int(os.environ.get('RANK', 0)) == 0:
        folder.mkdir(parents=True, exist_ok=True)
        marker.write_text(json.dumps(dict(config=args.config, fingerprint=digest), indent=1) + '\n')


def fingerprint(cfg: Config) -> str:
    """Digest of everything in a config that makes the result."""
    ignored = ('work_dir', 'launcher', 'resume', 'load_from')
    kept = {k: v for k, v in cfg.to_dict().items() if k not in ignored}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()


def train(args: argparse.Namespace) -> int:
    """Train, then print one summary line and where things were written."""
    cfg = configure(args)
    claim_work_dir(cfg, args)
    runner = common.build_runner(cfg)
    runner.train()
    summarize(Path(cfg.work_dir))
    return 0


def summarize(folder: Path) -> None:
    if int(os.environ.get('RANK', 0)) != 0:
        return
    record = folder / 'record.json'
    if record.is_file():
        run = json.loads(record.read_text())
        last = run['curve'][-1]
        scores = ', '.join(f'{k} {v:.2f}' for k, v in last.items() if k not in ('epoch', 'loss'))
        print(f'trained {run["name"]}: epoch {last["epoch"]}, loss {last["loss"]:.4f}, {scores} in {run["seconds"]:.0f} s')
    print(f'written to {folder}/: checkpoints, logs, record.json')


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    return common.run(train, args)
