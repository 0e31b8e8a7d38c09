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
from . import records
from .records import Entry
from .tables import SWEEPS, label

DESCRIPTION = '{http://purl.org/dc/elements/1.1/}description'
STYLE = {
    'svg.fonttype': 'none', 'svg.hashsalt': 'ranet_mm', 'axes.spines.top': False, 'axes.spines.right': False,
    'axes.grid': True, 'grid.alpha': 0.3, 'legend.frameon': False,
}  # fmt: skip

Figure = dict[str, Any]  # title, x and y (axis labels), and series: name, x, y, and low and high of y or None


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


def current(root: Path, name: str) -> bool:
    """Whether a file shows the numbers of today; a plot without numbers has no file."""
    figure, path = PLOTS[name](root), root / name
    if not path.is_file():
        return figure is None
    found = ElementTree.parse(path).find(f'.//{DESCRIPTION}')
    return found is not None and json.loads(found.text) == figure


def write(root: Path, name: str) -> None:
    """Draw a plot; the same numbers give the same file with the same version of matplotlib."""
    figure, path = PLOTS[name](root), root / name
    if figure is None:
        path.unlink()
        return
    import matplotlib as mpl

    metadata = dict(Date=None, Creator=None, Description=json.dumps(figure))
    with mpl.rc_context(STYLE), files.whole(path) as draft:
        _draw(figure).savefig(draft, format='svg', metadata=metadata)


def _draw(figure: Figure) -> Any:
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(7, 4), layout='constrained')
    axes = canvas.add_subplot(title=figure['title'], xlabel=figure['x'], ylabel=figure['y'])
    if figure.get('log'):
        axes.set_xscale('log')
    for series in figure['series']:
        line_style = '-' if series['low'] else ''
        (line,) = axes.plot(series['x'], series['y'], marker='o', ls=line_style, label=series['name'])
        if series['low']:
            axes.fill_between(series['x'], series['low'], series['high'], color=line.get_color(), alpha=0.15, lw=0)
    canvas.legend(loc='outside right upper', fontsize='small')
    return canvas


PLOTS: dict[str, Callable[[Path], Figure | None]] = {
    'docs/plots/small-epochs.svg': partial(curves, sweep='small/10_networks', against='epoch'),
    'docs/plots/small-time.svg': partial(curves, sweep='small/10_networks', against='seconds'),
    'docs/plots/gpu-epochs.svg': partial(curves, sweep='gpu/01_fast', against='epoch'),
    'docs/plots/gpu-time.svg': partial(curves, sweep='gpu/01_fast', against='seconds'),
    'docs/plots/parameters.svg': parameters,
}
