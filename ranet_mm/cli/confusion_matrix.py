"""Count which classes are taken for which, from predictions that `test --dump` wrote."""

from __future__ import annotations

import csv
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import files
from ..lab.predictions import read, told
from .program import FILE, command, option, table

WIDEST = 20  # classes that are printed as a whole matrix
CONFUSIONS = 10


@command(
    'predictions',
    option('--csv', **FILE, help='write the counts to this file'),
    option('--png', **FILE, help='draw them to this file'),
)
def main(args: Namespace) -> None:
    """Print the matrix where it is small, and the most frequent confusions."""
    from sklearn.metrics import confusion_matrix

    found = read(args.predictions)
    names = found.names()
    counts = confusion_matrix(found.labels, found.scores.argmax(1), labels=range(len(names)))
    right = 100 * counts.trace() / len(found.labels)
    print(f'{len(found.labels)} images, {right:.2f} % right; rows are what they show, columns what they are taken for')
    if len(names) <= WIDEST:
        print(table(matrix(counts, names)))
    if absent := found.absent():
        print(f'{len(names) - len(absent)} of {len(names)} classes are shown by the images; {told(absent)}')
    for i, j, number in confusions(counts):
        print(f'{number} x {names[i]} taken for {names[j]}')
    if args.csv:
        with files.whole(args.csv) as draft, draft.open('w', newline='', encoding='utf-8') as file:
            csv.writer(file).writerows(matrix(counts, names))
    if args.png:
        draw(args.png, counts, names)


def matrix(counts: np.ndarray, names: Sequence[str]) -> list[list[Any]]:
    """(classes, classes) of images of the row's class that are taken for the column's, with the names around them."""
    return [['', *names], *([name, *row] for name, row in zip(names, counts.tolist(), strict=True))]


def confusions(counts: np.ndarray) -> list[tuple[int, int, int]]:
    """The most frequent ones: row, column, number."""
    wrong = [(i, j, int(counts[i, j])) for i, j in np.argwhere(counts).tolist() if i != j]
    return sorted(wrong, key=lambda place: -place[2])[:CONFUSIONS]


def draw(path: Path, counts: np.ndarray, names: Sequence[str]) -> None:
    """Shares of each row, with the counts written into them where there are few classes."""
    from matplotlib.figure import Figure

    side = min(24, 3 + 0.5 * len(names))
    figure = Figure((side, side), layout='constrained')
    axes = figure.subplots()
    shares = counts / counts.sum(1, keepdims=True).clip(min=1)
    axes.imshow(shares, cmap='Blues', vmin=0, vmax=1)
    axes.set(xlabel='taken for', ylabel='shows')
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    for i, j in np.argwhere(counts).tolist() if len(names) <= WIDEST else ():
        axes.text(j, i, counts[i, j], ha='center', va='center', color='white' if shares[i, j] > 0.5 else 'black')
    with files.whole(path) as draft:
        figure.savefig(draft)
