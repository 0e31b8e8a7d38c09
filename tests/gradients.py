"""Norms of gradients over the depth of a network, as `ranet_mm.GradientNormHook` sends them in training.

python tests/gradients.py IMAGES [--config ranet/att452_cifar10_paper] [--every 100] --record FILE.json
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from ranet_mm import files
from ranet_mm.cli import train
from ranet_mm.mm.config import find_config

CONFIG = """
_base_ = {base!r}
custom_hooks = [*_base_.custom_hooks, dict(type='ranet_mm.GradientNormHook', interval={interval})]
train_dataloader = dict(batch_size={batch}, num_workers=0, persistent_workers=False)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('images', help='folder with train/CLASS/IMAGE and test/CLASS/IMAGE')
    parser.add_argument('--config', default='ranet/att452_cifar10_paper')
    parser.add_argument('--every', type=int, default=100, metavar='N', help='train once on every N-th image of a class')
    parser.add_argument('--interval', type=int, default=10, help='steps from one row of norms to the next')
    parser.add_argument('--batch-size', type=int, default=16)
    parser.add_argument('--record', type=Path, required=True, help='write the norms to this file')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / 'config.py'
        base = str(Path(find_config(args.config)).resolve())
        config.write_text(CONFIG.format(base=base, interval=args.interval, batch=args.batch_size))
        options = {
            'train_cfg.max_epochs': 1, 'folder': args.images, 'train_dataloader.dataset.held_out': True,
            'train_dataloader.dataset.holdout': args.every,
        }  # fmt: skip
        options = ['--no-validate', '--no-test', '--cfg-options', *(f'{key}={value}' for key, value in options.items())]
        if code := train.main([str(config), '--work-dir', f'{folder}/run', *options]):
            return code
        lines = [json.loads(x) for f in Path(folder).rglob('scalars.json') for x in f.read_text().splitlines()]
    told = {line['step']: line for line in lines if 'gradient/stem' in line}
    parts = [key for key in next(iter(told.values())) if key.startswith('gradient/')]
    rows = [
        dict(part=key.removeprefix('gradient/'), norms={str(step): line[key] for step, line in told.items()})
        for key in reversed(parts)  # the stem first
        if key not in ('gradient/least', 'gradient/most')
    ]
    command = ' '.join(['python', *sys.argv])
    files.write_json(args.record, dict(command=command, config=args.config, batch_size=args.batch_size, rows=rows))
    return 0


if __name__ == '__main__':
    sys.exit(main())
