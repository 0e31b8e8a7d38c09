"""Tables in Markdown, made from records, golden counts and the model index."""

from __future__ import annotations

import json
import shlex
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

from . import grid as grids
from . import records
from .records import Entry, Record

SWEEPS = Path('configs', 'sweeps')


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; columns after the first are aligned by their heading (`:` behind it: to the right)."""
    names = [h.removesuffix(':') for h in header]
    rule = ['---:' if h.endswith(':') else '---' for h in header]
    return ''.join(f'| {" | ".join(row)} |\n' for row in (names, rule, *rows))


def models_table(root: Path, up: str = '') -> str:
    """Every variant with the counts that the tests assert."""
    golden = json.loads((root / 'tests' / 'golden' / 'models.json').read_text(encoding='utf-8'))
    header = ('Model', 'Trunk depth:', 'Parameters:', 'MACs:', 'Input', 'Classes:', 'Features: channels / stride')
    return markdown(header, (model_row(name, facts) for name, facts in golden.items()))


def model_row(name: str, facts: Mapping[str, Any]) -> tuple[str, ...]:
    size = facts['img_size']
    features = ', '.join(f'{f["channels"]} / {f["reduction"]}' for f in facts['features'])
    counts = (f'{facts[key]:,}' for key in ('depth', 'params', 'macs'))
    return (f'`{name}`', *counts, f'{size} x {size}', str(facts['num_classes']), features)


def configs_table(root: Path, up: str = '') -> str:
    """The configs that the model index lists, with their cost."""
    index = yaml.safe_load((root / 'configs' / 'ranet' / 'metafile.yml').read_text(encoding='utf-8'))
    rows = (config_row(model, up) for model in index['Models'])
    return markdown(('Config', 'Data', 'Parameters:', 'MACs:'), rows)


def config_row(model: Mapping[str, Any], up: str) -> tuple[str, ...]:
    facts = model['Metadata']
    config = f'[{model["Name"]}]({up}{model["Config"]})'
    return config, facts['Training Data'], f'{facts["Parameters"]:,}', f'{facts["FLOPs"]:,}'


def results_table(root: Path, up: str = '') -> str:
    """One row for the runs that differ by seed alone: accuracy, cost, command and records."""
    found = records.load((root / 'results').glob('*.json'), root)
    runs = sorted((r for r in found if records.score(r) is not None), key=_row_key)
    rows = [result_row(list(group), up) for _, group in groupby(runs, key=_row_key)]
    if not rows:
        return 'No run is recorded yet.\n'
    return markdown(('Config', 'Data', 'Epochs:', 'Top-1 accuracy:', 'Time', 'Command', 'Records'), rows)


def _row_key(record: Record) -> tuple[str, ...]:
    return (
        record['config'], records.data_label(record), records.epochs(record), records.hardware(record),
        records.recipe(record),
    )  # fmt: skip


def result_row(runs: Sequence[Record], up: str) -> tuple[str, ...]:
    path, data, trained, hardware, _ = _row_key(runs[0])
    minutes = statistics.mean(records.seconds(r) for r in runs) / 60
    links = ', '.join(f'[seed {r["seed"]}]({up}{r["file"]})' for r in runs)
    config = f'[{Path(path).stem}]({up}{path})'
    line = f'`{records.recipe(runs[0])}`'
    return config, data, trained, records.accuracy(runs), f'{minutes:.1f} min, {hardware}', line, links


def steps_table(root: Path, up: str = '') -> str:
    """Mean training loss of each pass, for the short runs that show that an option trains."""
    files = sorted((root / 'results' / 'steps').glob('*.json'))
    rows = [step_row(f.stem, json.loads(f.read_text(encoding='utf-8')), up) for f in files]
    return markdown(('Option', 'Network', 'Steps:', 'Loss of each pass', 'Command'), rows)


def step_row(name: str, record: Record, up: str) -> tuple[str, ...]:
    backbone = record['settings']['model']['backbone']
    network = ', '.join(f'{k}={v}' for k, v in backbone.items() if k != 'type')
    losses = ', '.join(f'{point["loss"]:.2f}' for point in record['curve'])
    option = f'[{name}]({up}results/steps/{name}.json)'
    return option, network, str(record['iteration']), losses, f'`{records.command(record)}`'


def experiments_table(root: Path, up: str = '') -> str:
    """Every sweep file with its question, how many of its runs have a record, and its command."""
    rows = []
    for file in sorted((root / SWEEPS).glob('[!_]*/*.yml')):
        grid, path = grids.load(file), file.relative_to(root).as_posix()
        found = records.entries(grid, root)
        runs, total = sum(len(e.runs) for e in found), sum(len(e.cells) for e in found)
        link = f'[{grid.study}/{grid.name}]({up}{path})'
        rows.append((link, grid.title, f'{runs} of {total}', f'`{_command(path, found)}`'))
    return markdown(('Sweep', 'Question', 'Runs:', 'Command'), rows)


def study_tables(root: Path, up: str, study: str) -> str:
    """A section for each sweep file of a folder that has a record, then a list of those that have none."""
    sections, waiting = [], []
    for file in sorted((root / SWEEPS / study).glob('*.yml')):
        grid = grids.load(file)
        if any(e.runs for e in records.entries(grid, root)):
            sections.append(f'### {grid.title}\n\n{sweep_table(root, up, f"{study}/{grid.name}")}')
        else:
            waiting.append(f'- [{grid.name}]({up}{file.relative_to(root).as_posix()}): {grid.title}\n')
    return '\n'.join([*sections, *(['No run is recorded yet of\n\n' + ''.join(waiting)] if waiting else [])])


def sweep_table(root: Path, up: str, name: str) -> str:
    """The results of a sweep file: a row for each value of its axes but the last, whose values are columns.

    With one axis, its values are rows, and columns give the cost.
    """
    path = (SWEEPS / f'{name}.yml').as_posix()
    grid = grids.load(root / path)
    found = records.entries(grid, root)
    if not any(e.runs for e in found):
        return f'No run is recorded yet; `{_command(path, found)}`\n'
    reference = records.published(root).get(grid.published, {})
    if len(grid.axes) == 1:
        return _list(found, path, up, reference)
    return _matrix(found, path, up, reference)


def _list(found: Sequence[Entry], path: str, up: str, reference: Mapping[str, Any]) -> str:
    (axis,) = found[0].labels
    header = (axis, 'Top-1 accuracy:', 'Parameters:', 'Seconds an epoch:', 'Seconds of CPU an epoch:', 'Command')
    rows = [
        (label(e.labels), value(e, up, reference), *costs(e.runs), f'`{_command(path, [e], e.labels)}`') for e in found
    ]
    return markdown(header, rows)


def _matrix(found: Sequence[Entry], path: str, up: str, reference: Mapping[str, Any]) -> str:
    *axes, last = found[0].labels
    columns = list(dict.fromkeys(e.labels[last] for e in found))
    rows = []
    for _, group in groupby(found, key=lambda e: [e.labels[a] for a in axes]):
        row = list(group)
        shared = {a: row[0].labels[a] for a in axes}
        rows.append((label(shared), *(value(e, up, reference) for e in row), f'`{_command(path, row, shared)}`'))
    return markdown((', '.join(axes), *(f'{c}:' for c in columns), 'Command'), rows)


def label(labels: Mapping[str, str]) -> str:
    return ', '.join(labels.values())


def value(entry: Entry, up: str, reference: Mapping[str, Any]) -> str:
    """Mean and spread with links to the records, and what was published."""
    parts = ['not run']
    if entry.runs:
        links = ', '.join(f'[{r["seed"]}]({up}{r["file"]})' for r in entry.runs)
        parts = [f'{records.accuracy(entry.runs)} (seeds {links})']
    parts += [f'{source} {number:.2f}' for source, number in references(entry.labels, reference)]
    return '; '.join(parts)


def references(labels: Mapping[str, str], reference: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """What a source has published for these labels."""
    for row in reference.get('values', ()):
        if all(row.get(axis) == name for axis, name in labels.items()):
            yield reference['short'], row['accuracy']


def costs(runs: Sequence[Record]) -> tuple[str, str, str]:
    """Parameters; seconds and processor seconds for one epoch, validation included."""
    if not runs:
        return '', '', ''
    seconds, cpu = (
        statistics.mean(r[key] / r['curve'][-1]['epoch'] for r in runs) for key in ('seconds', 'cpu_seconds')
    )
    shared = max(r['sweep']['jobs'] for r in runs)
    note = f' ({shared} runs at a time)' if shared > 1 else ''
    return f'{runs[0]["parameters"]:,}', f'{seconds:.1f}{note}', f'{cpu:.1f}'


def _command(path: str, found: Iterable[Entry], labels: Mapping[str, str] | None = None) -> str:
    """The command line for the runs of these labels; the reader says for how long, where one of them takes the rest."""
    only = [f'{axis}={name}' for axis, name in (labels or {}).items()]
    limit = ['--max-minutes', 'M'] if any(c.minutes == grids.REST for e in found for c in e.cells) else []
    return shlex.join(['python', 'tools/sweep.py', path, *limit, *(['--only', *only] if only else [])])


TABLES = dict(
    results=results_table, steps=steps_table, models=models_table, configs=configs_table, experiments=experiments_table
)
