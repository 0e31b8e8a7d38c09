"""Count which classes are taken for which, from predictions that `test --dump` wrote."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from . import predictions, program

WIDEST = 20  # classes that are printed as a whole matrix
CONFUSIONS = 10


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = program.Parser(prog='confusion_matrix', description=__doc__)
    parser.add_argument('predictions', help='file of `test --dump`: .npz or .pkl')
    parser.add_argument('--csv', metavar='FILE', type=Path, help='write the counts to this file')
    parser.add_argument('--png', metavar='FILE', type=Path, help='draw them to this file')
    parser.add_argument('--debug', action='store_true', help='show the traceback of an error')
    return parser.parse_args(argv)


def confusion_matrix(args: argparse.Namespace) -> None:
    """Print the matrix where it is small, and the most frequent confusions."""
    found = predictions.read(args.predictions)
    counts, names = count(found.scores, found.labels), found.names()
    right = 100 * counts.diagonal().sum().item() / len(found.labels)
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


def count(scores: Tensor, labels: Tensor) -> Tensor:
    """(classes, classes): images of the row's class that are taken for the column's."""
    classes = scores.shape[1]
    return torch.bincount(labels * classes + scores.argmax(1), minlength=classes**2).reshape(classes, classes)


def confusions(counts: Tensor) -> list[tuple[int, int, int]]:
    """The most frequent ones: row, column, number."""
    wrong = counts.clone().fill_diagonal_(0)
    numbers, places = wrong.flatten().sort(descending=True, stable=True)
    chosen = zip(places.tolist(), numbers[:CONFUSIONS].tolist(), strict=False)
    return [(*divmod(place, len(counts)), number) for place, number in chosen if number]


def write_csv(path: Path, counts: Tensor, names: Sequence[str]) -> None:
    with path.open('w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        writer.writerow(['', *names])
        writer.writerows([name, *row] for name, row in zip(names, counts.tolist(), strict=True))


def draw(path: Path, counts: Tensor, names: Sequence[str]) -> None:
    """Shares of each row, with the counts written into them where there are few classes."""
    from matplotlib.figure import Figure

    side = min(24, 3 + 0.5 * len(names))
    figure = Figure((side, side), layout='constrained')
    axes = figure.subplots()
    shares = counts / counts.sum(1, keepdim=True).clamp(min=1)
    axes.imshow(shares, cmap='Blues', vmin=0, vmax=1)
    axes.set(xlabel='taken for', ylabel='shows', xticks=range(len(names)), yticks=range(len(names)))
    axes.set_xticklabels(names, rotation=90)
    axes.set_yticklabels(names)
    for i, j in torch.nonzero(counts).tolist() if len(names) <= WIDEST else ():
        axes.text(j, i, counts[i, j].item(), ha='center', va='center', color='white' if shares[i, j] > 0.5 else 'black')
    figure.savefig(path)


main = program.entry(confusion_matrix, parse_args)
