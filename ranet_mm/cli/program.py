"""What the programs share: options, tables, and one sentence for each error."""

from __future__ import annotations

import argparse
import ast
import gc
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    pass

COMMAND = 'ranet'


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
    from ..mm.engine.console import quiet_imports

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


def natural(name: str) -> list[Any]:
    """A key to sort names by in which numbers count as numbers."""
    return [int(part) if part.isdecimal() else part for part in re.split(r'(\d+)', name)]


def table(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Columns as wide as their widest cell: so many to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append('  '.join(cells).rstrip())
    return '\n'.join(lines)
