"""Count which classes are taken for which, from predictions that `test --dump` wrote."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..lab.predictions import Predictions, read
from . import program

WIDEST = 20  # classes that are printed as a whole matrix
CONFUSIONS = 10


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = program.Parser('confusion-matrix', __doc__)
    parser.share('predictions')
    parser.add_argument('--csv', **program.FILE, help='write the counts to this file')
    parser.add_argument('--png', **program.FILE, help='draw them to this file')
    return parser.parse_args(argv)


def confusion_matrix(args: argparse.Namespace) -> None:
    """Print the matrix where it is small, and the most frequent confusions."""
    found = read(args.predictions)
    counts, names = count(found), found.names()
    right = 100 * counts.trace() / len(found.labels)
    print(f'{len(found.labels)} images, {right:.2f} % right; rows are what they show, columns what they are taken for')
    if len(names) <= WIDEST:
        body = [[name, *map(str, row)] for name, row in zip(names, counts.tolist(), strict=True)]
        print(program.table([['', *names], *body]))
    for i, j, number in confusions(counts):
        print(f'{number} x {names[i]} taken for {names[j]}')
    if args.csv:
        write_csv(args.csv, counts, names)
    if args.png:
        draw(args.png, counts, names)


def count(found: Predictions) -> np.ndarray:
    """(classes, classes): images of the row's class that are taken for the column's."""
    from sklearn.metrics import confusion_matrix

    return confusion_matrix(found.labels, found.scores.argmax(1), labels=range(found.scores.shape[1]))


def confusions(counts: np.ndarray) -> list[tuple[int, int, int]]:
    """The most frequent ones: row, column, number."""
    wrong = [(i, j, int(counts[i, j])) for i, j in np.argwhere(counts).tolist() if i != j]
    return sorted(wrong, key=lambda place: -place[2])[:CONFUSIONS]


def write_csv(path: Path, counts: np.ndarray, names: Sequence[str]) -> None:
    with path.open('w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        writer.writerow(['', *names])
        writer.writerows([name, *row] for name, row in zip(names, counts.tolist(), strict=True))


def draw(path: Path, counts: np.ndarray, names: Sequence[str]) -> None:
    """Shares of each row, with the counts written into them where there are few classes."""
    from matplotlib.figure import Figure

    side = min(24, 3 + 0.5 * len(names))
    figure = Figure((side, side), layout='constrained')
    axes = figure.subplots()
    shares = counts / counts.sum(1, keepdims=True).clip(min=1)
    axes.imshow(shares, cmap='Blues', vmin=0, vmax=1)
    axes.set(xlabel='taken for', ylabel='shows', xticks=range(len(names)), yticks=range(len(names)))
    axes.set_xticklabels(names, rotation=90)
    axes.set_yticklabels(names)
    for i, j in np.argwhere(counts).tolist() if len(names) <= WIDEST else ():
        axes.text(j, i, counts[i, j], ha='center', va='center', color='white' if shares[i, j] > 0.5 else 'black')
    figure.savefig(path)


main = program.entry(confusion_matrix, parse_args)
