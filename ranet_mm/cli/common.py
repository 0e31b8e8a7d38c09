"""What the programs share: options, config changes, and one sentence for each error."""

from __future__ import annotations

import argparse
import ast
import contextlib
import difflib
import gc
import io
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ..machine import cores

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.runner import Runner

COMMAND = 'ranet'
PACKAGE = Path(__file__).parents[1]
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
# Names that a config may leave out, besides the arguments of MMEngine's runner.
OPTIONAL_FIELDS = (
    'compile', 'custom_imports', 'find_unused_parameters', 'minutes', 'model_wrapper_cfg', 'runner_type', 'strategy',
    'sync_bn', 'tta_model', 'tta_pipeline',
)  # fmt: skip


class Parser(argparse.ArgumentParser):
    """Reports a wrong command line in one sentence, without the usage text."""

    def __init__(self, prog: str, **kwargs: Any) -> None:
        by_console = Path(sys.argv[0]).stem == COMMAND
        super().__init__(' '.join([COMMAND, *sys.argv[1:2]]) if by_console else prog, **kwargs)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f'error: {message} (--help lists the options)\n')


def run(program: Callable[[argparse.Namespace], int | None], args: argparse.Namespace) -> int:
    """Run a program; on an error print one sentence, and the traceback with `--debug` alone.

    Returns:
        The exit code: the program's, 1 after an error, 130 when interrupted.
    """
    code = _run(program, args)
    gc.collect()  # models are in cycles, and one of several processes holds their group: see `launch.leave`
    return code


def _run(program: Callable[[argparse.Namespace], int | None], args: argparse.Namespace) -> int:
    try:
        code = program(args) or 0
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader has seen enough, as in `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt as interrupt:
        if is_main_process():
            print(f'error: {interrupt or "interrupted"}', file=sys.stderr)
        return 130
    except Exception as error:
        if args.debug:
            raise
        print(f'error: {sentence(error)} (--debug shows where)', file=sys.stderr)
        return 1


def entry(
    program: Callable[[argparse.Namespace], int | None],
    parse_args: Callable[[Sequence[str] | None], argparse.Namespace],
) -> Callable[[Sequence[str] | None], int]:
    """The `main` of a command: arguments in, exit code out."""

    def main(argv: Sequence[str] | None = None) -> int:
        return run(program, parse_args(argv))

    return main


def sentence(error: Exception) -> str:
    """The message of an error as one line, without the wrapping that workers and registries add."""
    text = str(error).strip() or type(error).__name__
    if 'Traceback (most recent call last)' in text:  # raised in a data loader's worker
        text = re.split(r'^[\w.]+: ', text, flags=re.MULTILINE)[-1]
    text = re.sub(r'^(class `\w+` in \S+: )+', '', text)
    if isinstance(error, FileNotFoundError) and error.filename:  # Python's own
        text = f'file {str(error.filename)!r} does not exist'
    if isinstance(error, KeyError):
        text = text.strip('\'"').split('. Please check')[0]
    return ' '.join(text.split()).rstrip('.')


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """A config and changes of it."""
    quiet_imports()
    from mmengine.config import DictAction

    parser.add_argument('config', help="config file, or the name of one of the package's own, as in ranet/att56_digits")
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='change the config')
    parser.add_argument('--debug', action='store_true', help='show the traceback of an error')
    parser.set_defaults(work_dir=None, no_pin_memory=False, launcher='none', local_rank=0)


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Options that train and test share, named as in mmpretrain's tools."""
    add_config_options(parser)
    parser.add_argument('--work-dir', help='where logs and results go (work_dirs/<config name> by default)')
    parser.add_argument('--amp', action='store_true', help='mixed precision, in the format this device is fast at')
    parser.add_argument('--no-pin-memory', action='store_true', help='do not pin memory in data loaders')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def parse(parser: Parser, argv: Sequence[str] | None) -> argparse.Namespace:
    try:
        args = parser.parse_args(argv)
    except (ValueError, AssertionError, RecursionError):  # from mmengine's DictAction
        parser.error('--cfg-options takes KEY=VALUE, where VALUE is a word, a number or a list of them')
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def require_positive(parser: Parser, args: argparse.Namespace, *options: str) -> None:
    """Refuse a number that is given and is not above 0."""
    for option in options:
        value = getattr(args, option)
        if value is not None and not value > 0:
            parser.error(f'--{option.replace("_", "-")} {value} is not allowed: it must be above 0')


def parse_options(options: Sequence[str]) -> dict[str, Any]:
    """`['p=2', 'attention=channel', 'modules=(1,1,2)']` as a mapping; values are Python literals or plain words.

    Raises:
        ValueError: An option has no `=`.
    """
    parsed = {}
    for option in options:
        key, equals, value = option.partition('=')
        if not equals:
            raise ValueError(f'option {option!r} is not allowed: it must have the form KEY=VALUE')
        try:
            parsed[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            parsed[key] = value
    return parsed


def is_main_process() -> bool:
    return int(os.environ.get('RANK', 0)) == 0


def load_config(args: argparse.Namespace) -> Config:
    """Read the config (see `read_config`) and fill in what depends on the options and on this machine."""
    from ..mm import launch

    cfg = read_config(args.config, args.cfg_options)
    cfg.launcher = args.launcher
    if cfg.get('randomness', {}).get('deterministic'):
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')  # PyTorch refuses to compute without it
    if args.work_dir or not cfg.get('work_dir'):
        cfg.work_dir = args.work_dir or str(Path('work_dirs') / Path(args.config).stem)
    for name in LOADERS:
        if cfg.get(name):
            set_loader_defaults(cfg[name], not args.no_pin_memory)
            if cfg.get('default_scope', 'mmpretrain') == 'mmpretrain':  # mmdet and mmseg keep MMEngine's default
                cfg[name].setdefault('collate_fn', dict(type='default_collate'))
    launch.prepare(cfg)
    return cfg


def read_config(name: str, options: dict[str, Any] | None = None) -> Config:
    """Read a config and change it.

    Raises:
        FileNotFoundError: There is no such config file.
        KeyError: An option changes a field that does not exist.
    """
    from ..mm import dense

    path = find_config(name)
    with contextlib.redirect_stdout(io.StringIO()):  # mmpretrain greets with what it could not import
        cfg = dense.read_config(path)
        if find_spec('mmpretrain'):
            import mmpretrain.datasets  # noqa: F401
    if options:
        check_fields(options, cfg)
        cfg.merge_from_dict(options)
        if 'holdout' in options:
            set_holdout(cfg)
    return cfg


def own_configs() -> dict[str, Path]:
    """The package's own configs by name, as in `ranet/att56_digits`; what only other configs read is left out."""
    mim = PACKAGE / '.mim' / 'configs'  # where OpenMMLab looks for them
    folder = mim if mim.is_dir() else PACKAGE.parent / 'configs'
    paths = (path.relative_to(folder) for path in sorted(folder.rglob('*.py')))
    return {
        p.with_suffix('').as_posix(): folder / p for p in paths if not any(part.startswith('_') for part in p.parts)
    }


def find_config(name: str) -> Path:
    """A config file of this path, or else the package's own, where `configs/` and `.py` may be left out.

    Raises:
        FileNotFoundError: There is none.
    """
    if Path(name).is_file():
        return Path(name)
    own, known = name.removeprefix('configs/').removesuffix('.py'), own_configs()
    if own in known:
        return known[own]
    near = difflib.get_close_matches(own, known)
    hint = f', its nearest are {", ".join(near)}' if near else f': `{COMMAND} configs` lists them'
    raise FileNotFoundError(f'config file {name!r} does not exist, nor has the package one of that name{hint}')


def check_fields(options: dict, cfg: Config) -> None:
    """MMEngine would add a misspelt field in silence.

    Raises:
        KeyError: The first name of an option is no field of a config.
    """
    import inspect

    from mmengine.runner import Runner

    known = {*cfg, *inspect.signature(Runner).parameters, *OPTIONAL_FIELDS}
    for option in options:
        if option.split('.')[0] not in known:
            raise KeyError(
                f'option {option!r} of --cfg-options is not known: the config has the fields {", ".join(sorted(cfg))}'
            )


def set_holdout(cfg: Config) -> None:
    """Hand `holdout` of the config to its data sets; 0 trains on every image, and leaves nothing to validate on.

    Raises:
        ValueError: A data set holds no images out.
    """
    for name in ('train_dataloader', 'val_dataloader'):
        if cfg.get(name) is not None:
            dataset = cfg[name].dataset
            while 'dataset' in dataset:  # a wrapper
                dataset = dataset.dataset
            if 'holdout' not in dataset:
                raise ValueError(f'holdout={cfg.holdout!r} is not allowed: the data set of {name} holds no images out')
            dataset.holdout = cfg.holdout
    if not cfg.holdout:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None


def set_loader_defaults(loader: dict, pin_memory: bool) -> None:
    """mmpretrain's defaults, where the config is silent; no more workers than cores, pinning for a GPU alone."""
    import torch

    loader['num_workers'] = min(loader.get('num_workers', 0), cores())
    loader['persistent_workers'] = loader.get('persistent_workers', True) and loader['num_workers'] > 0
    loader['pin_memory'] = loader.get('pin_memory', True) and pin_memory and torch.cuda.is_available()


def natural(name: str) -> list[Any]:
    """A key to sort names by in which numbers count as numbers."""
    return [int(part) if part.isdecimal() else part for part in re.split(r'(\d+)', name)]


def quiet_imports() -> None:
    """Keep warnings that a user can do nothing about off the console."""
    warnings.filterwarnings('ignore', category=UserWarning, message='Fail to import ``MultiScaleDeformable')
    warnings.filterwarnings('ignore', category=UserWarning, message='Setting ..._NUM_THREADS')
    warnings.filterwarnings('ignore', category=FutureWarning)
    warnings.filterwarnings('ignore', category=DeprecationWarning)


def build_runner(cfg: Config) -> Runner:
    """The runner that the config names, or else the one that keeps the console short."""
    from mmengine.registry import RUNNERS

    from ..mm.runner import Runner

    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)


def table(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Columns as wide as their widest cell: so many to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append('  '.join(cells).rstrip())
    return '\n'.join(lines)
