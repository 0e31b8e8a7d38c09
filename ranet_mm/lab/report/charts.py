"""The charts of a report as Plotly draws them, each with the table that says the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import torch
from torch import Tensor

from ..card import interval
from ..predictions import BINS, Predictions, calibration_error
from .rundir import Curves, Points

BLUE, ORANGE, GREY = '#3b7dd8', '#d9731a', '#8a8f98'  # 3:1 and more on white as on the dark
POINTS = 1500  # of a curve that are drawn
ROWS = 60  # of a curve's table
MOST_CLASSES = 100  # of a matrix that is drawn
WRITTEN = 20  # classes up to which counts are written into the matrix
BARS = 60  # classes that are drawn
LONGEST = 22  # characters of a name on an axis


@dataclass
class Chart:
    """A figure of Plotly, in words and as a table too."""

    name: str
    title: str
    caption: str
    alt: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]
    head: Sequence[str]
    rows: Sequence[Sequence[Any]]
    height: str = '20rem'
    more: dict[str, Any] = field(default_factory=dict)  # for the page's script

    def figure(self) -> dict[str, Any]:
        """What Plotly gets, checked by its own Python library."""
        from plotly.graph_objects import Figure

        found = Figure(self.data, dict(self.layout, template='none')).to_plotly_json()
        return dict(name=self.name, data=found['data'], layout=found['layout'], more=self.more)


def percent(share: float) -> str:
    return f'{100 * share:.2f} %'


def labels(names: Sequence[str]) -> list[str]:
    """Names as Plotly shows them on an axis: short, each another, and without the tags that it would obey."""
    found = [name if len(name) <= LONGEST else f'{name[: LONGEST - 1]}…' for name in names]
    twice = Counter(found)
    told = [f'{label} ({i})' if twice[label] > 1 else label for i, label in enumerate(found)]
    return [escape(label, quote=False) for label in told]


def thinned(points: Sequence[Any], number: int) -> list[Any]:
    """So many of them at most, with the first and the last."""
    if len(points) <= number:
        return list(points)
    return [points[round(i * (len(points) - 1) / (number - 1))] for i in range(number)]


# Training -----------------------------------------------------------------------------------------------


def training(curves: Curves) -> list[Chart]:
    """Loss, accuracies and learning rate; what was not logged has no chart."""
    accuracies = {name: points for name, points in curves.scores.items() if name.startswith('accuracy/')}
    others = {} if accuracies else curves.scores
    told = {
        'loss': ('Loss', 'The loss of training.', {'loss': curves.loss}, {}),
        'accuracy': ('Accuracy', 'Accuracy on the images to validate on, in percent.', accuracies, {}),
        'scores': ('Scores', 'Metrics on the images to validate on.', others, {}),
        'rate': ('Learning rate', 'The learning rate.', {'learning rate': curves.rate}, dict(rangemode='tozero')),
    }
    return [
        lines(name, title, caption, {k: v for k, v in series.items() if v}, curves.epoch, axis)
        for name, (title, caption, series, axis) in told.items()
        if any(series.values())
    ]


def lines(
    name: str, title: str, caption: str, series: dict[str, Points], epoch: float | None, axis: dict[str, Any]
) -> Chart:
    """Values by iterations; the page's script shows them by epochs too."""
    data, rows, words = [], [], []
    for (label, points), colour in zip(series.items(), [BLUE, ORANGE, GREY] * len(series), strict=False):
        drawn = thinned(points, POINTS)
        values = [value for _, value in drawn]
        mode = 'lines+markers' if len(drawn) <= ROWS else 'lines'
        data.append(dict(type='scatter', mode=mode, name=label.removeprefix('accuracy/'), x=[i for i, _ in drawn],
                         y=values, line=dict(color=colour, width=2.5), marker=dict(size=6)))  # fmt: skip
        rows += [
            (label, round(i), *([f'{i / epoch:.2f}'] if epoch else []), f'{v:.5g}') for i, v in thinned(points, ROWS)
        ]
        all_values = [value for _, value in points]
        words.append(f'{label} goes from {values[0]:.4g} to {values[-1]:.4g}; lowest {min(all_values):.4g}, '
                     f'highest {max(all_values):.4g}')  # fmt: skip
    layout = dict(xaxis=dict(title=dict(text='iteration')), yaxis=axis, showlegend=len(data) > 1)
    head = ['Series', 'Iteration', *(['Epoch'] if epoch else []), 'Value']
    return Chart(name, title, caption, f'Line chart. {". ".join(words)}.', data, layout, head, rows, '17rem',
                 dict(epoch=epoch))  # fmt: skip


# Answers ------------------------------------------------------------------------------------------------


def by_class(found: Predictions) -> Chart:
    """The share of each class's images that are right, the lowest first."""
    names, right = found.names(), found.scores.argmax(1) == found.labels
    rows = []
    for number, name in enumerate(names):
        of_class = right[found.labels == number]
        if len(of_class):
            share = of_class.double().mean().item()
            rows.append((name, len(of_class), int(of_class.sum()), share, *interval(100 * share, len(of_class))))
    rows.sort(key=lambda row: row[3])
    drawn = rows[:BARS][::-1]
    shares = [100 * row[3] for row in drawn]
    bars = dict(
        type='bar', orientation='h', y=labels([row[0] for row in drawn]), x=shares, marker=dict(color=BLUE),
        error_x=dict(type='data', symmetric=False, array=[row[5] - x for row, x in zip(drawn, shares, strict=True)],
                     arrayminus=[x - row[4] for row, x in zip(drawn, shares, strict=True)], color=GREY, thickness=1.5),
        customdata=[[row[2], row[1]] for row in drawn],
        hovertemplate='%{y}: %{x:.2f} % (%{customdata[0]} of %{customdata[1]})<extra></extra>',
    )  # fmt: skip
    layout = dict(xaxis=dict(title=dict(text='accuracy, %'), range=[0, 101]), yaxis=dict(type='category', dtick=1))
    left = f' Drawn are the {BARS} lowest of {len(rows)}.' if len(rows) > BARS else ''
    alt = f'Bar chart. The lowest is {rows[0][0]} with {percent(rows[0][3])}, the highest {rows[-1][0]} with ' \
          f'{percent(rows[-1][3])}.'  # fmt: skip
    caption = f"Accuracy of each class, with Wilson's 95 % interval from the number of its images.{left}"
    cells = [(name, total, good, percent(share), f'{low:.1f} to {high:.1f} %')
             for name, total, good, share, low, high in rows]  # fmt: skip
    height = f'{max(24, 6 + 1.6 * len(drawn)):.0f}rem'
    return Chart('by_class', 'Accuracy by class', caption, alt, [bars], layout,
                 ['Class', 'Images', 'Right', 'Accuracy', '95 % interval'], cells, height)  # fmt: skip


def confusions(found: Predictions) -> Chart:
    """Which classes are taken for which, as shares of each row: on the diagonal in blue, beside it in orange."""
    from sklearn.metrics import confusion_matrix

    names = found.names()
    counts = torch.from_numpy(confusion_matrix(found.labels, found.scores.argmax(1), labels=range(len(names))))
    beside = counts.clone().fill_diagonal_(0)
    pairs = sorted(((int(beside[i, j]), i, j) for i, j in beside.nonzero().tolist()), key=lambda pair: -pair[0])
    rows = [(names[i], names[j], n, percent(n / counts[i].sum().item())) for n, i, j in pairs]
    most = (
        f'Most often, {rows[0][0]} is taken for {rows[0][1]}: {rows[0][2]} times.' if rows else 'Nothing is confused.'
    )
    caption = 'Rows are what images show, columns what they are taken for: right in blue, wrong in orange.'
    data = heat(counts, names) if len(names) <= MOST_CLASSES else []
    if not data:
        caption = f'The most frequent confusions; a matrix of {len(names)} classes is not drawn.'
    axis = dict(type='category', dtick=1 if len(names) <= 40 else None, showgrid=False, ticks='')
    shows = dict(axis, title=dict(text='shows', standoff=12), autorange='reversed')
    angle = 0 if max(map(len, names)) < 3 else -50  # Plotly's own choice may swing between two
    layout = dict(xaxis=dict(axis, title=dict(text='taken for', standoff=14), tickangle=angle), yaxis=shows)
    head, more = ['Shows', 'Taken for', 'Images', 'Of the class'], dict(counts=matrix(counts, names))
    title, alt = 'Confusion matrix', f'Confusion matrix. {most}'
    return Chart('confusions', title, caption, alt, data, layout, head, rows, 'square', more)


def matrix(counts: Tensor, names: Sequence[str]) -> dict[str, Any]:
    """The whole matrix where it is small enough to be read as a table."""
    return dict(names=names, counts=counts.tolist()) if len(names) <= WRITTEN else {}


def heat(counts: Tensor, names: Sequence[str]) -> list[dict[str, Any]]:
    """Two layers whose colours let the page's background through, so that they go with a light and a dark one."""
    shares = counts.double() / counts.sum(1, keepdim=True).clamp(min=1)
    diagonal = torch.eye(len(names), dtype=torch.bool)
    told, layers = labels(names), []
    for colour, where in (('59,125,216', diagonal), ('217,115,26', ~diagonal & (counts > 0))):
        cells = [[100 * s if shown else None for s, shown in zip(*row, strict=True)]
                 for row in zip(shares.tolist(), where.tolist(), strict=True)]  # fmt: skip
        highest = max((cell for row in cells for cell in row if cell is not None), default=1)
        layer = dict(
            type='heatmap', x=told, y=told, z=cells, zmin=0, zmax=highest or 1, showscale=False, xgap=1, ygap=1,
            colorscale=[[0, f'rgba({colour},0.06)'], [1, f'rgba({colour},0.62)']], customdata=counts.tolist(),
            hovertemplate='%{y} taken for %{x}: %{customdata} (%{z:.1f} %)<extra></extra>', hoverongaps=False,
        )  # fmt: skip
        if len(names) <= WRITTEN:
            layer |= dict(text=counts.tolist(), texttemplate='%{text}')
        layers.append(layer)
    return layers


def reliability(found: Predictions) -> Chart:
    """Accuracy against confidence over bins of equal width, those of the calibration error, and what is in each."""
    confidence, taken_for = found.scores.max(1)
    right = (taken_for == found.labels).double()
    rows = filled_bins(confidence, right)
    mean, share = confidence.double().mean().item(), right.mean().item()
    tends = 'more confident than right' if mean > share else 'more right than confident'
    told = f'On average the network is {percent(mean)} confident and {percent(share)} right: {tends}.'
    error = calibration_error(confidence, right).item()
    caption = f'Expected calibration error {percent(error)} over {BINS} bins. {told}'
    cells = [(f'{100 * n / BINS:.1f} to {100 * (n + 1) / BINS:.1f} %', number, percent(sure), percent(good))
             for n, number, sure, good in rows]  # fmt: skip
    layout = dict(
        xaxis=dict(title=dict(text='confidence, %'), range=[0, 101], anchor='y2'),
        yaxis=dict(title=dict(text='accuracy, %'), range=[0, 101], domain=[0.34, 1]),
        yaxis2=dict(title=dict(text='images'), domain=[0, 0.24]),
        legend=dict(orientation='h', y=1.02, yanchor='bottom'),
    )  # fmt: skip
    head = ['Confidence', 'Images', 'Mean confidence', 'Accuracy']
    alt = f'Reliability diagram. {told}'
    return Chart('reliability', 'Reliability', caption, alt, bins_drawn(rows), layout, head, cells, '26rem')


def filled_bins(confidence: Tensor, right: Tensor) -> list[tuple[int, int, float, float]]:
    """Of each bin with images: its number, how many they are, their mean confidence, and the share that is right."""
    bins, rows = (confidence * BINS).long().clamp(max=BINS - 1), []
    for number in bins.unique().tolist():
        here = bins == number
        rows.append((number, int(here.sum()), confidence[here].double().mean().item(), right[here].mean().item()))
    return rows


def bins_drawn(rows: Sequence[tuple[int, int, float, float]]) -> list[dict[str, Any]]:
    numbers, images, sure, good = zip(*rows, strict=True)
    sure = [100 * value for value in sure]
    bars = dict(type='bar', x=[100 * (n + 0.5) / BINS for n in numbers], width=94 / BINS)
    return [
        dict(bars, name='accuracy', y=[100 * value for value in good], marker=dict(color=BLUE), customdata=images,
             hovertemplate='%{y:.1f} % right of %{customdata} images<extra></extra>'),
        dict(type='scatter', mode='markers', name='mean confidence', x=sure, y=sure,
             marker=dict(color=ORANGE, size=9, symbol='diamond')),
        dict(type='scatter', mode='lines', name='as right as confident', x=[0, 100], y=[0, 100],
             line=dict(color=GREY, dash='dash', width=1.5), hoverinfo='skip'),
        dict(bars, name='images', y=images, yaxis='y2', marker=dict(color=GREY), showlegend=False,
             hovertemplate='%{y} images<extra></extra>'),
    ]  # fmt: skip
