"""Plots as SVG files, which carry the numbers they show, so that a test can tell whether they are current."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from .. import files
from . import grid as grids
from . import mask_tables, records
from .records import Entry
from .tables import SWEEPS, label, speed_heading

SPEED = Path('results', 'speed')
DESCRIPTION = '{http://purl.org/dc/elements/1.1/}description'
STYLE = {
    'svg.fonttype': 'none', 'svg.hashsalt': 'ranet_mm', 'axes.spines.top': False, 'axes.spines.right': False,
    'axes.grid': True, 'grid.alpha': 0.3, 'legend.frameon': False,
}  # fmt: skip

# title, x and y (axis labels), and series: name, x, y, and low and high of y or None; or rows: name, x, low, high
Figure = dict[str, Any]


def curves(root: Path, sweep: str, against: str) -> Figure | None:
    """Accuracy against `epoch` or `seconds`, a line for each place of a sweep's grid; None without records."""
    path = root / SWEEPS / f'{sweep}.yml'
    found = [e for e in records.entries(grids.load(path), root) if e.runs] if path.is_file() else []
    if not found:
        return None
    x = dict(epoch='epochs', seconds='seconds of training and validation')[against]
    series = [_curve(entry, against) for entry in found]
    return dict(title=sweep, x=x, y='top-1 accuracy on validation images, %', series=series)


def _curve(entry: Entry, against: str) -> dict[str, Any]:
    """Mean over the seeds, with the lowest and the highest."""
    points = [[p for p in run['curve'] if records.METRIC in p] for run in entry.runs]
    steps = list(zip(*points, strict=True))
    scores = [[p[records.METRIC] for p in step] for step in steps]
    return dict(
        name=label(entry.labels),
        x=[round(statistics.mean(p[against] for p in step), 1) for step in steps],
        y=[round(statistics.mean(s), 2) for s in scores],
        low=[round(min(s), 2) for s in scores],
        high=[round(max(s), 2) for s in scores],
    )


def parameters(root: Path) -> Figure:
    """Accuracy on the CIFAR-10 test images against parameters: what others have published, and records here."""
    sources = (s for s in records.published(root).values() if s.get('plot'))
    points = {s['title']: [(v['parameters'], v['accuracy']) for v in s['values'] if 'parameters' in v] for s in sources}
    for run in records.load((root / 'results').rglob('*.json'), root):
        if 'curve' not in run:  # a measurement of speed
            continue
        data = records.data_label(run)
        if re.match(r'CIFAR-10\b', data) and records.images(run) == 'test' and 'parameters' in run:
            points.setdefault(f'here, {data}', []).append((run['parameters'], records.score(run)))
    series = [
        dict(name=name, x=[round(n / 1e6, 3) for n, _ in found], y=[score for _, score in found], low=None, high=None)
        for name, found in points.items()
    ]
    return dict(
        title='CIFAR-10', x='parameters, millions', y='top-1 accuracy on test images, %', log=True, series=series
    )  # fmt: skip


def speed(root: Path, stem: str) -> Figure | None:
    """A record of `ranet benchmark`: each line against what was varied, or else one row for each model and form."""
    path = root / SPEED / f'{stem}.json'
    if not path.is_file():
        return None
    run = json.loads(path.read_text(encoding='utf-8'))
    if not run.get('fits'):
        rows = [dict(name=m['name'], **_ordered(m['images_per_second'])) for m in run['models']]
        return dict(title=speed_heading(run), x='images/s: median and range of the rounds', rows=rows)
    series = []
    for fit in run['fits']:
        found = sorted((m for m in run['models'] if m['line'] == fit['name']), key=lambda m: m['at'])
        times = [{k: 1000 * m['images'] / v for k, v in m['images_per_second'].items()} for m in found]
        values = dict(x=[m['at'] for m in found], y=_rounded(times, 'median'))
        series.append(dict(
            name=f'{fit["name"]}: exponent {fit["exponent"]["median"]:.2f}', **values,
            low=_rounded(times, 'highest'), high=_rounded(times, 'lowest'),
        ))  # fmt: skip
    return dict(
        title=speed_heading(run), x=run['arguments']['vary'][0], y='milliseconds of a step', log=True, log_y=True,
        series=series,
    )  # fmt: skip


def pixels(root: Path, kind: str) -> Figure | None:
    """Probability of the predicted class against the share of pixels by `deletion` or `insertion`, a line a method."""
    found = mask_tables.measurements(root)
    if not found:
        return None
    lines = {way['way']: [_short(value) for value in way[kind]['curve']] for way in found[0]['curves']}
    series = [
        dict(name=name, x=[_short(100 * n / (len(y) - 1)) for n in range(len(y))], y=y, low=None, high=None)
        for name, y in lines.items()
    ]
    x = dict(deletion='pixels painted over, %', insertion='pixels put back, %')[kind]
    return dict(
        title=f'{kind}, {found[0]["model"]}', x=x, y='probability of the class predicted', lines=True, series=series
    )  # fmt: skip


def _ordered(found: dict[str, float]) -> dict[str, float]:
    return dict(x=_short(found['median']), low=_short(found['lowest']), high=_short(found['highest']))


def _rounded(found: list[dict[str, float]], key: str) -> list[float]:
    return [_short(values[key]) for values in found]


def _short(value: float) -> float:
    return float(f'{value:.4g}')


def listed(root: Path) -> dict[str, Callable[[Path], Figure | None]]:
    """Every plot of a checkout by its file, those whose record is gone included."""
    measured = {path.stem for path in (root / SPEED).glob('*.json')}
    drawn = {path.stem.removeprefix('speed-') for path in (root / 'docs' / 'plots').glob('speed-*.svg')}
    return PLOTS | {f'docs/plots/speed-{stem}.svg': partial(speed, stem=stem) for stem in sorted(measured | drawn)}


def current(root: Path, name: str) -> bool:
    """Whether a file shows the numbers of today; a plot without numbers has no file."""
    figure, path = listed(root)[name](root), root / name
    if not path.is_file():
        return figure is None
    found = ElementTree.parse(path).find(f'.//{DESCRIPTION}')
    return found is not None and json.loads(found.text) == figure


def write(root: Path, name: str) -> None:
    """Draw a plot; the same numbers give the same file with the same version of matplotlib."""
    figure, path = listed(root)[name](root), root / name
    if figure is None:
        path.unlink()
        return
    import matplotlib as mpl

    metadata = dict(Date=None, Creator=None, Description=json.dumps(figure))
    with mpl.rc_context(STYLE), files.whole(path) as draft:
        _draw(figure).savefig(draft, format='svg', metadata=metadata)


def _draw(figure: Figure) -> Any:
    from matplotlib.figure import Figure as Canvas

    rows = figure.get('rows', ())
    canvas = Canvas(figsize=(7, 1.2 + 0.3 * len(rows) if rows else 4), layout='constrained')
    axes = canvas.add_subplot(xlabel=figure['x'], ylabel=figure.get('y'))
    speed = rows or figure.get('log_y')  # whose titles and names are long
    (canvas.suptitle if speed else axes.set_title)(figure['title'], fontsize='small' if speed else None)
    if rows:
        _draw_rows(axes, rows)
        return canvas
    for series in figure['series']:
        joined = series['low'] or figure.get('lines')
        form = dict(marker='' if figure.get('lines') else 'o', ls='-' if joined else '')
        (line,) = axes.plot(series['x'], series['y'], label=series['name'], **form)
        if series['low']:
            axes.fill_between(series['x'], series['low'], series['high'], color=line.get_color(), alpha=0.15, lw=0)
    if figure.get('log'):
        axes.set_xscale('log')
    if figure.get('log_y'):
        _in_plain_numbers(axes, sorted({x for series in figure['series'] for x in series['x']}))
    canvas.legend(loc='outside lower center' if speed else 'outside right upper', fontsize='small')
    return canvas


def _in_plain_numbers(axes: Any, x: list[float]) -> None:
    """Two logarithmic axes that are labelled by 50 and not by 5 x 10^1, the lower one where the points are."""
    axes.set_yscale('log')
    low, high = axes.get_ylim()
    axes.yaxis.set_major_formatter('{x:g}')
    axes.yaxis.set_minor_formatter('{x:g}' if high < 10 * low else '')
    axes.set_xticks(x, [f'{value:g}' for value in x])
    axes.set_xticks([], minor=True)


def _draw_rows(axes: Any, rows: list[dict[str, Any]]) -> None:
    """A dot and its range for each, the first on top; convolutions alone, which no model outruns, in grey."""
    for place, row in enumerate(rows):
        color = 'C7' if row['name'].startswith('convolutions of ') else 'C0'
        axes.plot([row['low'], row['high']], [place, place], color=color, alpha=0.4, lw=4)
        axes.plot(row['x'], place, marker='o', ls='', color=color)
        axes.annotate(f'{row["x"]:.4g}', (row['x'], place), (0, 4), textcoords='offset points', fontsize='x-small')
    axes.set_yticks(range(len(rows)), [row['name'] for row in rows])
    axes.invert_yaxis()
    axes.set_xlim(left=0)


PLOTS: dict[str, Callable[[Path], Figure | None]] = {
    'docs/plots/small-epochs.svg': partial(curves, sweep='small/10_networks', against='epoch'),
    'docs/plots/small-time.svg': partial(curves, sweep='small/10_networks', against='seconds'),
    'docs/plots/gpu-epochs.svg': partial(curves, sweep='gpu/01_fast', against='epoch'),
    'docs/plots/gpu-time.svg': partial(curves, sweep='gpu/01_fast', against='seconds'),
    'docs/plots/parameters.svg': parameters,
    'docs/plots/attention-deletion.svg': partial(pixels, kind='deletion'),
    'docs/plots/attention-insertion.svg': partial(pixels, kind='insertion'),
}
