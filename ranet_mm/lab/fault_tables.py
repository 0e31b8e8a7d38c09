"""Tables of reliability, from the records of `tests/{faults,fuzzing,gradients,mutants}.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from . import records
from .markdown import Row, markdown


def table(root: Path, up: str = '', *, name: str, row: Callable[[Mapping[str, Any]], Row]) -> str:
    """The rows of one record, and the command that made it."""
    found = records.load((root / 'results' / 'reliability').glob(f'{name}.json'), root)
    return '\n'.join(f'`{run["command"]}`\n\n{markdown(map(row, run["rows"]))}' for run in found) or markdown([])


def fault_row(found: Mapping[str, Any]) -> Row:
    unequal = ', '.join(found['unequal'])
    return {
        'What happens': found['fault'], 'To': found['path'], 'Times:': found['times'], 'Runs:': found['runs'],
        'Checkpoints passed over:': found['passed'], 'Steps done again:': found['lost'],
        'Result': f'differs: {unequal}' if unequal else 'equal, bit for bit',
    }  # fmt: skip


def fuzz_row(found: Mapping[str, Any]) -> Row:
    numbers = {f'{name.capitalize()}:': f'{found[name]:,}' for name in ('cases', 'refused', 'failed')}
    return {'Reader': found['reader'], **numbers, 'Peak MiB of the process:': f'{found["mib"]:,}'}


def gradient_row(found: Mapping[str, Any]) -> Row:
    return {'Part': found['part'], **{f'Step {step}:': f'{norm:.3g}' for step, norm in found['norms'].items()}}


def mutant_row(found: Mapping[str, Any]) -> Row:
    left = found['tried'] - found['same']
    counts = {'Mutants:': f'{found["mutants"]:,}', 'Tried:': found['tried'], 'Change nothing:': found['same']}
    return {
        'Module': found['module'],
        **counts,
        'Noticed of the others, %:': f'{100 * found["killed"] / max(1, left):.0f}',
    }


def code(line: str) -> str:
    """A line of Python in a table."""
    ticks = '``' if '`' in line else '`'
    return f'{ticks}{line}{ticks}'.replace('|', r'\|')


def mutant_tables(root: Path, up: str = '') -> str:
    """The modules with all of them together, and each mutant that the tests let pass, with the reason."""
    found = records.load((root / 'results' / 'reliability').glob('mutants.json'), root)
    if not found:
        return markdown([])
    rows = found[0]['rows']
    whole = {key: sum(row[key] for row in rows) for key in ('mutants', 'tried', 'same', 'killed')}
    lives = [life for row in rows for life in row['lives']]
    passed = [
        {'Module': life['module'], **{place.capitalize(): code(life[place]) for place in ('before', 'after')},
         'Why nothing notices': life['reason'] or '-'}
        for life in lives
    ]  # fmt: skip
    return '\n'.join((markdown(map(mutant_row, [*rows, dict(module='all', **whole)])), markdown(passed)))


TABLES = dict(
    faults=partial(table, name='faults', row=fault_row),
    mutants=mutant_tables,
    gradients=partial(table, name='gradients', row=gradient_row),
    fuzzing=partial(table, name='fuzzing', row=fuzz_row),
)
