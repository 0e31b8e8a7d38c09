"""What the programs share: options, tables, and one sentence for each error."""

from __future__ import annotations

import argparse
import ast
import gc
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

COMMAND = 'ranet'
FILE = dict(metavar='FILE', type=Path)
# Options that several programs have; `Parser.share` adds them.
SHARED = {
    'pattern': dict(nargs='?', default='*', help='names to list, as in "*56*"'),
    'predictions': dict(help='file of `test --dump`: .npz or .pkl'),
    '--batch-size': dict(type=int, default=32, metavar='N', help='images at a time'),
    '--check': dict(action='store_true', help='write nothing; exit with 1 where anything is not current'),
    '--checkpoint': dict(metavar='FILE', help='weights from a file, of timm or of OpenMMLab'),
    '--device': dict(default='cpu', help='where to compute, as in cuda'),
    '--json': dict(action='store_true', help='print JSON instead of a table'),
    '--options': dict(nargs='+', default=[], metavar='KEY=VALUE', help='change the architecture'),
    '--overwrite': dict(action='store_true', help='replace a file that exists'),
    '--root': dict(type=Path, default=Path(), help='the checkout (the current folder by default)'),
}


class Parser(argparse.ArgumentParser):
    """The options of a program; a wrong command line is reported in one sentence, without the usage text.

    Args:
        name: The program's name, as in `ranet NAME`.
        description: The docstring of its module, of which the first line is shown.
        positive: Options whose numbers must be above 0 where they are given.
        **kwargs: As in argparse.
    """

    def __init__(self, name: str, description: str, positive: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(f'{COMMAND} {name}', description=description.partition('\n')[0], **kwargs)
        self.positive = positive
        self.add_argument('--debug', action='store_true', help='show the traceback of an error')

    def share(self, *options: str, **changes: Any) -> None:
        """Add options that other programs have too."""
        for option in options:
            self.add_argument(option, **{**SHARED[option], **changes})

    def add_config(self) -> None:
        """A config and changes of it."""
        from ..mm.engine.console import quiet_imports

        quiet_imports()
        from mmengine.config import DictAction

        self.add_argument(
            'config', help="config file, or one of the package's own by its name, as in ranet/att56_digits"
        )
        self.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='change the config')
        self.set_defaults(work_dir=None, no_pin_memory=False, launcher='none', local_rank=0)

    def add_run(self) -> None:
        """A config, and how and where it runs: what train and test share, named as in mmpretrain's tools."""
        self.add_config()
        self.add_argument('--work-dir', help='where logs and results go (work_dirs/<config name> by default)')
        self.add_argument('--amp', action='store_true', help='mixed precision, in the format this device is fast at')
        self.add_argument('--no-pin-memory', action='store_true', help='do not pin memory in data loaders')
        self.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
        self.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)

    def parse_args(self, argv: Sequence[str] | None = None) -> argparse.Namespace:
        """The arguments, which are those of the process where none are given."""
        try:
            args = super().parse_args(argv)
        except (ValueError, AssertionError, RecursionError):  # from mmengine's DictAction
            self.error('--cfg-options takes KEY=VALUE, where VALUE is a word, a number or a list of them')
        for option in self.positive:
            value = getattr(args, option)
            if value is not None and not value > 0:
                self.error(f'--{option.replace("_", "-")} {value} is not allowed: it must be above 0')
        if 'local_rank' in args:
            os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
        return args

    def error(self, message: str) -> NoReturn:
        self.exit(2, f'error: {message} (--help lists the options)\n')


def entry(
    program: Callable[[argparse.Namespace], int | None],
    parse_args: Callable[[Sequence[str] | None], argparse.Namespace],
) -> Callable[[Sequence[str] | None], int]:
    """The `main` of a command: arguments in, exit code out; it is the program's, 1 after an error, 130 if interrupted.

    An error is printed in one sentence, and its traceback with `--debug` alone.
    """

    def main(argv: Sequence[str] | None = None) -> int:
        code = _run(program, parse_args(argv))
        gc.collect()  # models are in cycles, and one of several processes holds their group: see `launch.leave`
        return code

    return main


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


def check_timm_model(name: str) -> None:
    """Raises `ValueError` where timm has no model of that name; a tag of weights may follow it."""
    import timm

    if not timm.is_model(name.partition('.')[0]):
        raise ValueError(f'model {name!r} is not known: `{COMMAND} models` lists ours, and timm has others')


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Another path to write to, which becomes the file when all is written: never a half-written file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'.part-{os.getpid()}-{path.name}')
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def table(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Columns as wide as their widest cell: so many to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append('  '.join(cells).rstrip())
    return '\n'.join(lines)


def write_json(path: Path, found: Any) -> None:
    path.write_text(json.dumps(found, indent=1) + '\n', encoding='utf-8')
