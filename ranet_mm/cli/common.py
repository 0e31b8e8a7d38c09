"""What train and test share: options, config changes, and one sentence for each error."""

from __future__ import annotations

import argparse
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmengine.config import Config


def run(program: Callable[[argparse.Namespace], int | None], args: argparse.Namespace) -> int:
    """Run a program; on an error print one sentence, and the traceback with `--debug` alone.

    Returns:
        The exit code: the program's, 1 after an error, 130 when interrupted.
    """
    try:
        return program(args) or 0
    except KeyboardInterrupt:
        print('error: interrupted; go on with --resume', file=sys.stderr)
        return 130
    except Exception as error:
        if args.debug:
            raise
        print(f'error: {sentence(error)} (--debug shows where)', file=sys.stderr)
        return 1


def sentence(error: Exception) -> str:
    """The message of an error as one line, without the wrapping that workers and registries add."""
    text = str(error).strip() or type(error).__name__
    if 'Traceback (most recent call last)' in text:  # raised in a data loader's worker
        text = text.splitlines()[-1].split(': ', 1)[-1]
    text = re.sub(r'^(class `\w+` in \S+?\.py: )+', '', text)
    if isinstance(error, KeyError):
        text = text.strip('\'"')
    return ' '.join(text.split())


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Options that train and test share, named as in mmpretrain's tools."""
    from mmengine.config import DictAction

    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='where logs and results go (work_dirs/<config name> by default)')
    parser.add_argument('--amp', action='store_true', help='mixed precision, in the format this device is fast at')
    parser.add_argument('--no-pin-memory', action='store_true', help='do not pin memory in data loaders')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='change the config')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument('--debug', action='store_true', help='show the traceback of an error')


def parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    args = parser.parse_args(argv)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def load_config(args: argparse.Namespace) -> Config:
    """Read the config and apply the options that train and test share.

    Raises:
        FileNotFoundError: There is no such config file.
    """
    quiet_imports()
    from mmengine.config import Config

    if not Path(args.config).is_file():
        raise FileNotFoundError(f'config file {args.config!r} does not exist')
    cfg = Config.fromfile(args.config)
    cfg.launcher = args.launcher
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    if args.work_dir or not cfg.get('work_dir'):
        cfg.work_dir = args.work_dir or str(Path('work_dirs') / Path(args.config).stem)
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if cfg.get(name):
            set_loader_defaults(cfg[name], not args.no_pin_memory)
    fit_device(cfg)
    return cfg


def set_loader_defaults(loader: dict, pin_memory: bool) -> None:
    """mmpretrain's defaults, where the config is silent; memory is pinned for a GPU alone."""
    import torch

    loader.setdefault('collate_fn', dict(type='default_collate'))
    loader.setdefault('persistent_workers', loader.get('num_workers', 0) > 0)
    loader['pin_memory'] = loader.get('pin_memory', True) and pin_memory and torch.cuda.is_available()


def fit_device(cfg: Config) -> None:
    """Processes on CPUs talk over gloo."""
    import torch

    if not torch.cuda.is_available() and cfg.get('env_cfg', {}).get('dist_cfg', {}).get('backend') == 'nccl':
        cfg.env_cfg.dist_cfg.backend = 'gloo'


def quiet_imports() -> None:
    """Keep warnings that a user can do nothing about off the console."""
    warnings.filterwarnings('ignore', category=UserWarning, message='Fail to import ``MultiScaleDeformable')
    warnings.filterwarnings('ignore', category=FutureWarning)
    warnings.filterwarnings('ignore', category=DeprecationWarning)


def build_runner(cfg: Config):
    """MMEngine's runner, or the one that the config names."""
    from mmengine.registry import RUNNERS
    from mmengine.runner import Runner

    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
