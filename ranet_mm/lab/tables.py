"""Tables in Markdown, made from records, golden counts and the model index."""

from __future__ import annotations

import json
import shlex
import statistics
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

from . import fault_tables, mask_tables, records
from . import grid as grids
from .markdown import Row, markdown
from .records import Entry, Record

SWEEPS = Path('configs', 'sweeps')
# Heading: images, metric, and what makes percent of it.
DETECTION = {
    'validation box AP50': ('val', 'coco/bbox_mAP_50', 100), 'test box AP50': ('test', 'coco/bbox_mAP_50', 100),
    'test box AP': ('test', 'coco/bbox_mAP', 100), 'test mask AP': ('test', 'coco/segm_mAP', 100),
}  # fmt: skip
SEGMENTATION = {'validation mIoU': ('val', 'mIoU', 1), 'test mIoU': ('test', 'mIoU', 1)}
MODELS = {'retinanet': 'RetinaNet', 'faster-rcnn': 'Faster R-CNN', 'mask-rcnn': 'Mask R-CNN', 'fcn': 'FCN',
          'upernet': 'UPerNet', 'deeplabv3plus': 'DeepLabV3+'}  # fmt: skip


def models_table(root: Path, up: str = '') -> str:
    """Every variant with the counts that the tests assert."""
    golden = json.loads((root / 'tests' / 'golden' / 'models.json').read_text(encoding='utf-8'))
    return markdown({
        'Model': f'`{name}`', 'Trunk depth:': facts['depth'], 'Parameters:': f'{facts["params"]:,}',
        'MACs:': f'{facts["macs"]:,}', 'Input': f'{facts["img_size"]} x {facts["img_size"]}',
        'Classes:': facts['num_classes'],
        'Features: channels / stride': ', '.join(f'{f["channels"]} / {f["reduction"]}' for f in facts['features']),
    } for name, facts in golden.items())  # fmt: skip


def configs_table(root: Path, up: str = '') -> str:
    """The configs that the model index lists, with their cost."""
    index = yaml.safe_load((root / 'configs' / 'ranet' / 'metafile.yml').read_text(encoding='utf-8'))
    return markdown({
        'Config': f'[{model["Name"]}]({up}{model["Config"]})', 'Data': model['Metadata']['Training Data'],
        'Parameters:': f'{model["Metadata"]["Parameters"]:,}', 'MACs:': f'{model["Metadata"]["FLOPs"]:,}',
    } for model in index['Models'])  # fmt: skip


def runs_table(root: Path, up: str = '') -> str:
    """One row for the runs that differ by seed alone: accuracy, cost, commands and records."""
    return markdown(result_row(runs, up) for runs in recorded(root))


def results_table(root: Path, up: str = '') -> str:
    """Of each network on each data set the row with the highest accuracy."""
    best: dict[tuple[str, str], list[Record]] = {}
    for runs in recorded(root):
        place = records.data_label(runs[0]), Path(runs[0]['config']).stem.partition('_')[0]
        best[place] = max(best.get(place, runs), runs, key=records.mean)
    return markdown(result_row(best[place], up) for place in sorted(best))


def recorded(root: Path) -> list[list[Record]]:
    """The runs of `results/` that have an accuracy, those together that differ by seed alone."""

    def alike(run: Record) -> tuple[str, ...]:
        same = (of(run) for of in (records.data_label, records.epochs, records.hardware, records.recipe))
        return run['config'], *same

    found = (run for run in records.load((root / 'results').glob('*.json'), root) if records.score(run) is not None)
    return [list(group) for _, group in groupby(sorted(found, key=alike), key=alike)]


def result_row(runs: Sequence[Record], up: str) -> Row:
    first, path = runs[0], records.path(runs[0])
    old = f'`{Path(first["config"]).stem}` at `{first.get("commit")}`'
    minutes = statistics.mean(records.seconds(r) for r in runs) / 60
    return {
        'Config': f'[{Path(path).stem}]({up}{path})' if path else old, 'Data': records.data_label(first),
        'Epochs:': records.epochs(first), 'Top-1 accuracy:': records.accuracy(runs),
        'Time': f'{minutes:.1f} min, {records.hardware(first)}',
        'Command': '<br>'.join(records.lines(first)),
        'Records': ', '.join(f'[seed {r["seed"]}]({up}{r["file"]})' for r in runs),
    }  # fmt: skip


def steps_table(root: Path, up: str = '') -> str:
    """Mean training loss of each pass, for the short runs that show that an option trains."""
    return markdown({
        'Option': f'[{Path(run["file"]).stem}]({up}{run["file"]})',
        'Network': ', '.join(f'{k}={v}' for k, v in run['settings']['model']['backbone'].items() if k != 'type'),
        'Steps:': run['iteration'], 'Loss of each pass': ', '.join(f'{point["loss"]:.2f}' for point in run['curve']),
        'Command': f'`{records.renamed(records.command(run))}`',
    } for run in records.load((root / 'results' / 'steps').glob('*.json'), root))  # fmt: skip


def dense_table(root: Path, up: str = '', *, task: str, columns: Mapping[str, tuple[str, str, int]]) -> str:
    """What the small runs of detectors or segmentation networks reach."""
    found = records.load((root / 'results' / 'dense').glob('*.json'), root)
    return markdown(dense_row(run, columns, up) for run in found if Path(run['config']).parent.name == task)


def dense_row(run: Record, columns: Mapping[str, tuple[str, str, int]], up: str) -> Row:
    backbone, of = run['settings']['model']['backbone'], dict(val=run['curve'][-1], test=run['test'])
    start = 'CIFAR-10 weights' if backbone['init_cfg'] else 'from scratch'
    norm = f', `out_norm={backbone["out_norm"]}`' if 'out_norm' in backbone else ''
    values = {
        f'{heading}:': f'{factor * of[split][name]:.1f}' if name in of[split] else '-'
        for heading, (split, name, factor) in columns.items()
    }
    return {
        'Model': MODELS[run['name'].partition('_')[0]], 'Start': start + norm, **values,
        'CPU minutes:': f'{run["cpu_seconds"] / 60:.0f}', 'Record': f'[{Path(run["file"]).name}]({up}{run["file"]})',
    }  # fmt: skip


def speed_tables(root: Path, up: str = '') -> str:
    """Tables and a plot for each measurement of speed, headed by what was done and on what."""
    found = records.load((root / 'results' / 'speed').glob('*.json'), root)
    return '\n'.join('\n'.join(speed_parts(run, up)) for run in found)


def speed_parts(run: Record, up: str) -> list[str]:
    link, name = f'[{Path(run["file"]).name}]({up}{run["file"]})', Path(run['file']).stem
    plot = f'![{name}]({up}docs/plots/speed-{name}.svg)'
    differ = len({model.get('macs') for model in run['models']} - {None}) > 1
    parts = [
        f'{speed_heading(run)}: {link}\n',
        f'{plot}\n',
        markdown(telling([speed_row(model, differ) for model in run['models']])),
    ]
    parts += [markdown(share_row(model) for model in run['models'] if model.get('shares'))] * bool(run.get('profile'))
    return [*parts, markdown(fit_row(fit, run) for fit in run['fits'])] if run.get('fits') else parts


def telling(rows: Sequence[Row]) -> list[Row]:
    """Without the columns in which every row says the same."""
    same = {column for column in rows[0] if len(rows) > 1 and len({row[column] for row in rows}) == 1}
    return [{column: cell for column, cell in row.items() if column not in same} for row in rows]


def share_row(found: Mapping[str, Any]) -> Row:
    """Where the time of a step goes."""
    return {
        'Percent of the time in': found['name'], **{f'{k}:': f'{100 * v:.0f}' for k, v in found['shares'].items()}
    }  # fmt: skip


def speed_heading(run: Record) -> str:
    return f'{dict(train="Training steps", forward="Inference")[run["mode"]]}, {run["settings"]}, {run["hardware"]}'


def speed_row(found: Mapping[str, Any], by_work: bool) -> Row:
    """A model in a form; with its multiply-adds (MACs) where those of the table differ."""
    ratio, over = found['ratio'], found['over_bound']
    work = {
        'GMACs an image:': f'{found["macs"] / 1e9:.2f}' if found['macs'] else '-',
        'Ratio in MACs/s:': f'{found["work_ratio"]["median"]:.2f}' if found['work_ratio'] else '-',
    } if by_work else {}  # fmt: skip
    return {
        'Model and form': found['name'], 'Images/s:': f'{found["images_per_second"]["median"]:.1f}',
        'Ratio (lowest to highest):': '{median:.2f} ({lowest:.2f} to {highest:.2f})'.format(**ratio), **work,
        'Time over its convolutions alone:': f'{over["median"]:.2f}' if over else '-',
        'Peak MiB:': '-' if found['peak_mib'] is None else f'{found["peak_mib"]:,.0f}',
        'Seconds to the first step:': f'{found["start"]:.0f}' if found.get('start') else '-',
    }  # fmt: skip


def fit_row(found: Mapping[str, Any], run: Record) -> Row:
    """How time grows on one line of a plot."""
    over = found['work_exponent']
    return {
        'Time of a step grows with': f'{run["arguments"]["vary"][0]}: {found["name"]}',
        'Exponent (lowest to highest):': '{median:.2f} ({lowest:.2f} to {highest:.2f})'.format(**found['exponent']),
        'Exponent over MACs:': f'{over["median"]:.2f}' if over else '-',
    }  # fmt: skip


def experiments_table(root: Path, up: str = '') -> str:
    """The sweep files with runs to make: the question, how many of its runs have a record, and its command."""
    rows = []
    for file in sorted((root / SWEEPS).glob('[!_]*/*.yml')):
        grid, path = grids.load(file), file.relative_to(root).as_posix()
        found = records.entries(grid, root)
        runs, total = sum(len(e.runs) for e in found), sum(len(e.cells) for e in found)
        if runs < total:
            rows.append({
                'Sweep': f'[{grid.study}/{grid.name}]({up}{path})', 'Question': grid.title,
                'Runs:': f'{runs} of {total}', 'Command': _command(path, found),
            })  # fmt: skip
    return markdown(rows, 'Every run has its record.\n')


def study_tables(root: Path, up: str, study: str) -> str:
    """A section for each sweep file of a folder that has a record."""
    grids_ = (grids.load(file) for file in sorted((root / SWEEPS / study).glob('*.yml')))
    with_runs = [grid for grid in grids_ if any(e.runs for e in records.entries(grid, root))]
    return '\n'.join(f'### {grid.title}\n\n{sweep_table(root, up, f"{study}/{grid.name}")}' for grid in with_runs)


def sweep_table(root: Path, up: str, name: str) -> str:
    """The results of a sweep file: a row for each value of its axes but the last, whose values are columns.

    With one axis, its values are rows, and columns give the cost.
    """
    path = (SWEEPS / f'{name}.yml').as_posix()
    grid = grids.load(root / path)
    found = records.entries(grid, root)
    if not any(e.runs for e in found):
        return f'No run is recorded yet; {_command(path, found)}\n'
    reference = records.published(root).get(grid.published, {})
    one = len(grid.axes) == 1
    *axes, last = [*grid.axes, 'Top-1 accuracy'] if one else grid.axes
    rows = []
    for _, group in groupby(found, key=lambda e: [e.labels[a] for a in axes]):
        row = list(group)
        shared = {a: row[0].labels[a] for a in axes}
        values = {f'{e.labels.get(last, last)}:': value(e, up, reference) for e in row} | (
            costs(row[0].runs) if one else {}
        )
        rows.append({', '.join(axes): label(shared), **values, 'Command': _command(path, row, shared)})
    return markdown(rows)


def label(labels: Mapping[str, str]) -> str:
    return ', '.join(labels.values())


def value(entry: Entry, up: str, reference: Mapping[str, Any]) -> str:
    """Mean and spread with links to the records, and what a source has published for these labels."""
    links = ', '.join(f'[{r["seed"]}]({up}{r["file"]})' for r in entry.runs)
    own = f'{records.accuracy(entry.runs)} (seeds {links})' if entry.runs else 'not run'
    same = [r for r in reference.get('values', ()) if all(r.get(axis) == v for axis, v in entry.labels.items())]
    return '; '.join([own, *(f'{reference["short"]} {r["accuracy"]:.2f}' for r in same)])


def costs(runs: Sequence[Record]) -> Row:
    """Parameters; seconds and processor seconds for one epoch, validation included."""
    if not runs:
        return dict.fromkeys(('Parameters:', 'Seconds an epoch:', 'Seconds of CPU an epoch:'), '')
    seconds, cpu = (
        statistics.mean(r[key] / r['curve'][-1]['epoch'] for r in runs) for key in ('seconds', 'cpu_seconds')
    )
    shared = max(r['sweep']['jobs'] for r in runs)
    note = f' ({shared} runs at a time)' if shared > 1 else ''
    return {
        'Parameters:': f'{runs[0]["parameters"]:,}', 'Seconds an epoch:': f'{seconds:.1f}{note}',
        'Seconds of CPU an epoch:': f'{cpu:.1f}',
    }  # fmt: skip


def _command(path: str, found: Iterable[Entry], labels: Mapping[str, str] | None = None) -> str:
    """The command line for the runs of these labels; the reader says for how long, where one of them takes the rest."""
    only = [f'{axis}={name}' for axis, name in (labels or {}).items()]
    limit = ['--max-minutes', 'M'] if any(c.minutes == grids.REST for e in found for c in e.cells) else []
    return f'`{shlex.join(["ranet", "sweep", path, *limit, *(["--only", *only] if only else [])])}`'


TABLES = dict(
    results=results_table, steps=steps_table, models=models_table, configs=configs_table, experiments=experiments_table,
    runs=runs_table, speed=speed_tables, detection=partial(dense_table, task='detection', columns=DETECTION),
    segmentation=partial(dense_table, task='segmentation', columns=SEGMENTATION),
    **mask_tables.TABLES, **fault_tables.TABLES,
)  # fmt: skip
