"""Tables in Markdown, made from records, golden counts and the model index."""

from __future__ import annotations

import json
import shlex
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
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


def runs_table(root: Path, up: str = '') -> str:
    """One row for the runs that differ by seed alone: accuracy, cost, commands and records."""
    return _results([result_row(runs, up) for runs in recorded(root)])


def results_table(root: Path, up: str = '') -> str:
    """Of each network on each data set the row with the highest accuracy."""
    best: dict[tuple[str, str], list[Record]] = {}
    for runs in recorded(root):
        place = records.data_label(runs[0]), Path(runs[0]['config']).stem.partition('_')[0]
        best[place] = max(best.get(place, runs), runs, key=records.mean)
    return _results([result_row(best[place], up) for place in sorted(best)])


def recorded(root: Path) -> list[list[Record]]:
    """The runs of `results/` that have an accuracy, those together that differ by seed alone."""
    found = records.load((root / 'results').glob('*.json'), root)
    runs = sorted((r for r in found if records.score(r) is not None), key=_row_key)
    return [list(group) for _, group in groupby(runs, key=_row_key)]


def _row_key(record: Record) -> tuple[str, ...]:
    return (
        record['config'], records.data_label(record), records.epochs(record), records.hardware(record),
        records.recipe(record),
    )  # fmt: skip


def _results(rows: Sequence[Sequence[str]]) -> str:
    header = ('Config', 'Data', 'Epochs:', 'Top-1 accuracy:', 'Time', 'Command', 'Records')
    return markdown(header, rows) if rows else 'No run is recorded yet.\n'


def result_row(runs: Sequence[Record], up: str) -> tuple[str, ...]:
    old, data, trained, hardware, _ = _row_key(runs[0])
    path = records.path(runs[0])
    config = f'[{Path(path).stem}]({up}{path})' if path else f'`{Path(old).stem}` at `{runs[0]["commit"]}`'
    minutes = statistics.mean(records.seconds(r) for r in runs) / 60
    links = ', '.join(f'[seed {r["seed"]}]({up}{r["file"]})' for r in runs)
    lines = '<br>'.join(records.lines(runs[0]))
    return config, data, trained, records.accuracy(runs), f'{minutes:.1f} min, {hardware}', lines, links


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
    return option, network, str(record['iteration']), losses, f'`{records.renamed(records.command(record))}`'


MODELS = {'retinanet': 'RetinaNet', 'faster-rcnn': 'Faster R-CNN', 'mask-rcnn': 'Mask R-CNN', 'fcn': 'FCN',
          'upernet': 'UPerNet', 'deeplabv3plus': 'DeepLabV3+'}  # fmt: skip
# Heading: images, metric, and what makes percent of it.
DETECTION = {
    'validation box AP50': ('val', 'coco/bbox_mAP_50', 100), 'test box AP50': ('test', 'coco/bbox_mAP_50', 100),
    'test box AP': ('test', 'coco/bbox_mAP', 100), 'test mask AP': ('test', 'coco/segm_mAP', 100),
}  # fmt: skip
SEGMENTATION = {'validation mIoU': ('val', 'mIoU', 1), 'test mIoU': ('test', 'mIoU', 1)}


def dense_table(root: Path, up: str = '', *, task: str, columns: Mapping[str, tuple[str, str, int]]) -> str:
    """What the small runs of detectors or segmentation networks reach."""
    found = records.load((root / 'results' / 'dense').glob('*.json'), root)
    rows = [dense_row(run, columns.values(), up) for run in found if Path(run['config']).parent.name == task]
    return markdown(('Model', 'Start', *(f'{c}:' for c in columns), 'CPU minutes:', 'Record'), rows)


def dense_row(run: Record, columns: Iterable[tuple[str, str, int]], up: str) -> tuple[str, ...]:
    backbone = run['settings']['model']['backbone']
    start = ['CIFAR-10 weights' if backbone['init_cfg'] else 'from scratch']
    start += [f'`out_norm={backbone["out_norm"]}`'] if 'out_norm' in backbone else []
    of = dict(val=run['curve'][-1], test=run['test'])
    values = (f'{factor * of[split][name]:.1f}' if name in of[split] else '-' for split, name, factor in columns)
    link = f'[{Path(run["file"]).name}]({up}{run["file"]})'
    return MODELS[run['name'].partition('_')[0]], ', '.join(start), *values, f'{run["cpu_seconds"] / 60:.0f}', link


def experiments_table(root: Path, up: str = '') -> str:
    """The sweep files with runs to make: the question, how many of its runs have a record, and its command."""
    rows = []
    for file in sorted((root / SWEEPS).glob('[!_]*/*.yml')):
        grid, path = grids.load(file), file.relative_to(root).as_posix()
        found = records.entries(grid, root)
        runs, total = sum(len(e.runs) for e in found), sum(len(e.cells) for e in found)
        link = f'[{grid.study}/{grid.name}]({up}{path})'
        if runs < total:
            rows.append((link, grid.title, f'{runs} of {total}', f'`{_command(path, found)}`'))
    return markdown(('Sweep', 'Question', 'Runs:', 'Command'), rows) if rows else 'Every run has its record.\n'


def study_tables(root: Path, up: str, study: str) -> str:
    """A section for each sweep file of a folder that has a record."""
    grids_ = (grids.load(file) for file in sorted((root / SWEEPS / study).glob('*.yml')))
    with_runs = [grid for grid in grids_ if any(e.runs for e in records.entries(grid, root))]
    sections = [f'### {grid.title}\n\n{sweep_table(root, up, f"{study}/{grid.name}")}' for grid in with_runs]
    return '\n'.join(sections)


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
    return shlex.join(['ranet', 'sweep', path, *limit, *(['--only', *only] if only else [])])


TABLES = dict(
    results=results_table, steps=steps_table, models=models_table, configs=configs_table, experiments=experiments_table,
    runs=runs_table, detection=partial(dense_table, task='detection', columns=DETECTION),
    segmentation=partial(dense_table, task='segmentation', columns=SEGMENTATION),
)  # fmt: skip
