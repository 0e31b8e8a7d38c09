"""Tables of what masks mean, from the records of `ranet faithfulness`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from . import records
from .markdown import Row, markdown
from .records import Record


def measurements(root: Path, trained: bool = False) -> list[Record]:
    """Those of weights that ship, or of networks that were trained to be compared, which say how."""
    found = records.load((root / 'results' / 'attention').glob('*.json'), root)
    return [run for run in found if ('training' in run) == trained]


def attention_tables(root: Path, up: str = '', *, part: str, row: Callable[[Mapping[str, Any]], Row]) -> str:
    """A table of one part of each measurement of weights that ship, headed by the network and its images."""
    found = measurements(root)
    tables = [
        f'{run["model"]}, {attention_images(run, part)}: [{Path(run["file"]).name}]({up}{run["file"]})\n\n'
        f'{markdown(map(row, run[part]))}'
        for run in found
        if run[part]
    ]
    return '\n'.join(tables) or markdown([])


def attention_images(run: Record, part: str) -> str:
    if part == 'objects':
        return '100 generated images'
    return f'{run["curve_images"] if part == "curves" else run["images"]:,} images of {Path(run["data"]).name}'


def ablation_row(found: Mapping[str, Any]) -> Row:
    own = found['mask'] == 'its own'
    return {
        'Module': found['module'] or ('none' if own else 'all'),
        'In the place of its mask': '-' if own else found['mask'],
        'Accuracy, %:': f'{found["accuracy"]:.1f}',
        'Difference:': '-' if own else f'{found["difference"]:+.1f} ± {found["error"]:.1f}',
    }  # fmt: skip


def curves_row(found: Mapping[str, Any]) -> Row:
    values = {kind: '{area:.3f} ± {error:.3f}'.format(**found[kind]) for kind in ('deletion', 'insertion')}
    return {'Pixels by': found['way'], 'Deletion (low is good):': values['deletion'],
            'Insertion (high is good):': values['insertion']}  # fmt: skip


def objects_row(found: Mapping[str, Any]) -> Row:
    return {
        'Module': found['module'], 'Mask on objects:': f'{found["inside"]:.3f}',
        'Elsewhere:': f'{found["outside"]:.3f}',
        'Probability that it is higher on an object:': '{auroc:.3f} ± {error:.3f}'.format(**found),
    }  # fmt: skip


def statistics_row(found: Mapping[str, Any]) -> Row:
    shares = {f'Between {of}, %:': f'{100 * found[of]:.1f}' for of in ('positions', 'channels', 'images')}
    means = {'Mean:': f'{found["mean"]:.3f}', 'Deviation:': f'{found["deviation"]:.3f}'}
    return {'Module': found['module'], **means, **shares}


def type_tables(root: Path, up: str = '') -> str:
    """Networks that were trained to be compared: accuracy without their masks, and what these are like over depth."""
    found = measurements(root, trained=True)
    lines = [
        {
            'Attention': run['model'],
            **{f'{x["mask"]}, %:': f'{x["accuracy"]:.1f}' for x in run['ablations'] if not x['module']},
        }
        for run in found
    ]
    rows = [{'Attention': run['model'], **statistics_row(x)} for run in found for x in run['statistics']]
    commands = '\n'.join(
        f'- {run["model"]}: [{Path(run["file"]).name}]({up}{run["file"]}), `{run["training"]}`' for run in found
    )
    return '\n'.join((commands + '\n', markdown(lines), markdown(rows))) if found else markdown([])


TABLES = dict(
    types=type_tables,
    ablations=partial(attention_tables, part='ablations', row=ablation_row),
    deletion=partial(attention_tables, part='curves', row=curves_row),
    objects=partial(attention_tables, part='objects', row=objects_row),
    statistics=partial(attention_tables, part='statistics', row=statistics_row),
)
