"""What the programs share: options, tables, and one sentence for each error."""

from __future__ import annotations

import argparse
import ast
import gc
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ..files import printable
from ..machine import keep_memory

COMMAND = 'ranet'
FILE = dict(metavar='FILE', type=Path)


class Positive(argparse.Action):
    """Takes a number that must be above 0."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        if not values > 0:
            parser.error(f'{self.option_strings[0]} {values} is not allowed: it must be above 0')
        setattr(namespace, self.dest, values)


COUNT = dict(metavar='N', type=int, action=Positive)
# Options that several programs have, which each names alone.
SHARED = {
    'pattern': dict(nargs='?', default='*', help='names to list, as in "*56*"'),
    'predictions': dict(help='file of `test --dump`: .npz or .pkl'),
    '--batch-size': dict(**COUNT, default=32, help='images at a time'),
    '--check': dict(action='store_true', help='write nothing; exit with 1 where anything is not current'),
    '--checkpoint': dict(metavar='FILE', help='weights from a file, of timm or of OpenMMLab'),
    '--device': dict(default='cpu', help='where to compute, as in cuda'),
    '--json': dict(action='store_true', help='print JSON instead of a table'),
    '--options': dict(nargs='+', default=[], metavar='KEY=VALUE', help='change the architecture'),
    '--overwrite': dict(action='store_true', help='replace a file that exists'),
    '--root': dict(type=Path, default=Path(), help='the checkout (the current folder by default)'),
}


class Program(argparse.ArgumentParser):
    """The program `ranet NAME`: called with arguments, or else with those of the process, it returns its exit code.

    That is what its work returns, 1 after an error, 2 for a wrong command line, 130 if interrupted. An error is printed
    in one sentence, without the usage text, and with its traceback where `--debug` asks for it.

    Args:
        work: What it does with the arguments. Its module gives the program's name and description.
        options: See `command`.
        **kwargs: As in argparse.
    """

    def __init__(
        self, work: Callable[[argparse.Namespace], int | None], options: Sequence[Option | str], **kwargs: Any
    ) -> None:
        name = work.__module__.rpartition('.')[2].replace('_', '-')
        description = sys.modules[work.__module__].__doc__.partition('\n')[0]
        super().__init__(f'{COMMAND} {name}', description=description, **kwargs)
        self.work = work
        for add in (option('--debug', action='store_true', help='show the traceback of an error'), *options):
            (shared(add) if isinstance(add, str) else add)(self)

    def __call__(self, argv: Sequence[str] | None = None) -> int:
        code = self._run(self.parse_args(argv))
        gc.collect()  # models are in cycles, and one of several processes holds their group: see `launch.leave`
        return code

    def parse_args(self, argv: Sequence[str] | None = None) -> argparse.Namespace:
        try:
            args = super().parse_args(argv)
        except (ValueError, AssertionError, RecursionError):  # from mmengine's DictAction
            self.error('--cfg-options takes KEY=VALUE, where VALUE is a word, a number or a list of them')
        if 'local_rank' in args:
            os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
        return args

    def error(self, message: str) -> NoReturn:
        self.exit(2, f'error: {message} (--help lists the options)\n')

    def _run(self, args: argparse.Namespace) -> int:
        keep_memory()
        try:
            code = self.work(args) or 0
            sys.stdout.flush()
            return code
        except BrokenPipeError:  # the reader has seen enough, as in `| head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except argparse.ArgumentError as error:
            self.error(str(error))
        except KeyboardInterrupt as interrupt:
            if is_main_process():
                print(f'error: {interrupt or "interrupted"}', file=sys.stderr)
            return 130
        except Exception as error:
            if args.debug:
                raise
            print(f'error: {sentence(error)} (--debug shows where)', file=sys.stderr)
            return 1


Option = Callable[[Program], Any]


def command(*options: Option | str, **kwargs: Any) -> Callable[[Callable], Program]:
    """Make a function of the arguments a program.

    Args:
        *options: From `option` or `shared`, the name alone of one in `SHARED`, `config_options` or `run_options`.
        **kwargs: Of the parser, as in argparse.
    """
    return lambda work: Program(work, options, **kwargs)


def option(*names: str, **kwargs: Any) -> Option:
    """An option or argument, as argparse's `add_argument` takes it."""
    return lambda program: program.add_argument(*names, **kwargs)


def shared(name: str, **changes: Any) -> Option:
    """An option of `SHARED`, changed."""
    return option(name, **{**SHARED[name], **changes})


def config_options(program: Program) -> None:
    """A config and changes of it."""
    program.add_argument(
        'config', help="config file, or one of the package's own by its name, as in ranet/att56_digits"
    )
    config_changes(program)
    program.set_defaults(work_dir=None, no_pin_memory=False, launcher='none', local_rank=0)


def config_changes(program: Program) -> None:
    """Changes of a config alone."""
    from ..mm.engine.console import quiet_imports

    quiet_imports()
    from mmengine.config import DictAction

    program.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='change the config')


def run_options(program: Program) -> None:
    """A config, and how and where it runs: what train and test share, named as in mmpretrain's tools."""
    config_options(program)
    program.add_argument('--work-dir', help='where logs and results go (work_dirs/<config name> by default)')
    program.add_argument('--amp', action='store_true', help='mixed precision, in the format this device is fast at')
    program.add_argument('--no-pin-memory', action='store_true', help='do not pin memory in data loaders')
    program.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    program.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


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
    return printable(' '.join(text.split()).rstrip('.'))


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


def check_ending(name: str, path: str | Path, allowed: Sequence[str], what: str = 'it must end') -> None:
    """Refuse a command line whose option or argument of this name is a file of another kind."""
    if Path(path).suffix not in allowed:
        raise argparse.ArgumentError(
            None, f'{name} {str(path)!r} is not allowed: {what} in one of {", ".join(allowed)}'
        )


def table(rows: Iterable[Iterable[Any]], left: int = 1) -> str:
    """Columns as wide as their widest cell: so many to the left, the others to the right."""
    rows = [[*map(str, row)] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append('  '.join(cells).rstrip())
    return '\n'.join(lines)
