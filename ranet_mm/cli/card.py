"""Measure shipped weights through timm on test images, and write their model card."""

from __future__ import annotations

import subprocess
import sys
from argparse import Namespace
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import files, weights
from ..lab.card import render, spread
from ..lab.predictions import calibration_error
from ..lab.records import read as read_record
from ..lab.shown import spaced
from ..lab.tested import DIGITS, Pairs, images_of, load
from ..openvino_graph import CALIBRATION
from ..runtimes import for_each_size, words_of
from ..weights import description, showing
from ..weights.read import read, weights_of
from .program import command, option, shared

KEPT = 'data', 'images', 'accuracy', 'calibration_error'  # of figures on other images
OF_INT8 = 'openvino', 'nncf'  # packages that make its figures


@command(
    option('name', help='weights of the index, for example attention56_cifar.cifar10'),
    option('data', help=f'folder of test images, one subfolder for each class; or {DIGITS}'),
    option('record', type=Path, help='record of the run that made the weights; gets the figures'),
    option('--runs', type=Path, nargs='+', default=[], metavar='RECORD',
           help='records of runs that differ by seed alone, for the spread'),
    option('--int8', metavar='DATA',
           help=f'measure in 8-bit integers too, calibrated on this folder of training images; or {DIGITS}'),
    option('--weights', nargs='+', metavar='PART',
           help='first ship these: a checkpoint of the run, or the parts it was split into'),
    shared('--batch-size', default=250),
)  # fmt: skip
def main(args: Namespace) -> int:
    """Evaluate once, put the figures into the run's record under `shipped`, and write the card beside the weights.

    Figures of the same weights on other images stay, below the new ones.
    """
    from ..mm.data.identity import data_name

    rows = weights.index()
    if args.name not in rows and not args.weights:
        raise ValueError(f'weights {args.name!r} are not known: allowed are {", ".join(rows) or "none yet"}')
    if args.int8:
        words_of('int8')
    folders = [Path(data) for data in (args.data, args.int8) if data and data != DIGITS]
    for path in (args.record, *args.runs, *folders):
        if not path.exists():
            raise FileNotFoundError(f'{str(path)!r} does not exist')
    record, *others = (read_record(path) for path in (args.record, *args.runs))
    runs = spread(record, others)
    tested = images_of(args.data, 'test')
    if args.weights:
        ship(args.name, args.weights, record, tested.metainfo['classes'])
        return write_card_anew(args)
    row, data = weights.index()[args.name], data_name(tested, 'test')
    found = figures(*predict(args.name, args.data, args.batch_size))
    now = dict(weights=args.name, sha256=row['sha256'], data=data, **found, runs=runs)
    if int8 := in_int8(args) if args.int8 else still(record.get('shipped'), now):
        now['int8'] = int8
    record['shipped'] = dict(now, also=earlier(record.get('shipped'), now))
    files.write_json(args.record, record)
    file = Path(row['file'])
    card = file.with_suffix('.md')
    files.write(card, render(args.name, record, file.stat().st_size))
    print(f'{args.name}: {found["accuracy"]:.2f} % of {found["images"]} images; written to {card} and {args.record}')
    return 0


def in_int8(args: Namespace) -> dict[str, Any]:
    """Accuracy in 8-bit integers on the same test images, and by what it was calibrated."""
    from ..mm.data.identity import data_name

    found = figures(*predict(args.name, args.data, args.batch_size, args.int8))
    made_by = {name: version(name) for name in OF_INT8}
    data = data_name(images_of(args.int8, 'train'), 'train')
    return dict(accuracy=found['accuracy'], calibration=dict(data=data, images=CALIBRATION), versions=made_by)


def still(old: dict[str, Any] | None, now: dict[str, Any]) -> dict[str, Any] | None:
    """Figures in 8-bit integers of the same weights on the same images."""
    same = old and all(old[name] == now[name] for name in ('sha256', 'data'))
    return old.get('int8') if same else None


def write_card_anew(args: Namespace) -> int:
    """In another process: weights are registered in timm when the package is imported."""
    runs = ['--runs', *map(str, args.runs)] if args.runs else []
    runs += ['--int8', args.int8] if args.int8 else []
    options = ['--batch-size', str(args.batch_size), *runs, *['--debug'] * args.debug]
    command = [sys.executable, '-m', 'ranet', 'card', args.name, args.data, str(args.record), *options]
    return subprocess.run(command, check=False).returncode


def earlier(old: dict[str, Any] | None, now: dict[str, Any]) -> list[dict[str, Any]]:
    """Figures of the same weights on other images, the latest first."""
    if not old or old['sha256'] != now['sha256']:
        return []
    both = [{name: old[name] for name in KEPT}, *old.get('also', [])]
    return [figures for figures in both if figures['data'] != now['data']]


def ship(name: str, files: Sequence[str], record: dict[str, Any], classes: Sequence[str]) -> None:
    """Write the weights of a run into the package in half precision, under a name of the index.

    `classes` are those of the images tested on, which count where the files name none.

    Raises:
        ValueError: They are not those of the network that the name and the record say.
    """
    state: dict[str, Tensor] = {}
    for file in files:
        found = read(file)
        state.update(weights_of(found)[0])
        classes = description.classes_of(found) or classes
    about = description.of_settings(record['settings'])
    if about['architecture'] != name.partition('.')[0]:
        raise ValueError(f'weights {name!r} are not allowed: the record is of {about["architecture"]!r}')
    if not about.get('exclusive', True):
        raise ValueError(f'weights {name!r} are not allowed: a card counts images with one label each')
    about, state = showing.in_rgb(about, state)
    known = {k: v for k, v in weights.index().get(name, {}).items() if k not in ('file', *weights.OWN_FIELDS)}
    fields = {**known, 'num_classes': len(classes), 'label_names': list(classes), **about['pretrained_cfg']}
    description.build(dict(about, pretrained_cfg=fields), state)
    half = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    more = dict(model_args=about['model_args']) if about['model_args'] else {}
    weights.save(half, weights.FOLDER, name, **fields, **more)


@torch.no_grad()
def predict(name: str, data: str, batch_size: int, calibration: str | None = None) -> tuple[Tensor, Tensor, list[str]]:
    """Probabilities (N, classes), labels (N,) and class names of test images, through timm's own transform.

    With images to calibrate with, a folder or the digits, the network computes in 8-bit integers.
    """
    import timm
    from timm.data import create_transform, resolve_model_data_config

    run = model = timm.create_model(name, pretrained=True).eval()
    names, transform = model.pretrained_cfg.get('label_names'), create_transform(**resolve_model_data_config(model))
    images, classes = load(data, transform, names)
    if calibration:
        trained = Pairs(images_of(calibration, 'train'), transform)
        seen = torch.stack([trained[i][0] for i in spaced(range(len(trained)), CALIBRATION)])
        run = for_each_size(model, 'int8', seen)
    found = [(run(x).softmax(1), y) for x, y in torch.utils.data.DataLoader(images, batch_size)]
    scores, labels = (torch.cat(parts) for parts in zip(*found, strict=True))
    return scores, labels, classes


def figures(scores: Tensor, labels: Tensor, classes: Sequence[str]) -> dict[str, Any]:
    """Accuracy and its value for each class (None without images) and the expected calibration error, in percent."""
    confidence, predicted = scores.max(1)
    right = (predicted == labels).double()
    of_classes = {name: right[labels == i] for i, name in enumerate(classes)}
    per_class = {name: _percent(of.mean()) if len(of) else None for name, of in of_classes.items()}
    error = _percent(calibration_error(confidence, right))
    return dict(images=len(labels), accuracy=_percent(right.mean()), calibration_error=error, per_class=per_class)


def _percent(share: Tensor) -> float:
    return round(100 * share.item(), 2)
