"""Measure shipped weights through timm on a folder of test images, and write their model card."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import weights
from . import common

BINS = 15


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = common.Parser(prog='model_card', description=__doc__)
    parser.add_argument('name', help='weights of the index, for example attention56_cifar.cifar10')
    parser.add_argument('data', type=Path, help='folder of test images, one subfolder for each class')
    parser.add_argument('record', type=Path, help='record of the run that made the weights; gets the figures')
    parser.add_argument('--label', default='CIFAR-10 (JPEG copy)', help='what the images are')
    parser.add_argument('--batch-size', type=int, default=250)
    parser.add_argument('--debug', action='store_true', help='show the traceback of an error')
    return parser.parse_args(argv)


def write_card(args: argparse.Namespace) -> None:
    """Evaluate once, put the figures into the run's record under `shipped`, and write the card beside the weights.

    Raises:
        ValueError: There are no weights of that name.
        FileNotFoundError: The folder or the record does not exist.
    """
    rows = weights.index()
    if args.name not in rows:
        raise ValueError(f'weights {args.name!r} are not known: allowed are {", ".join(rows) or "none yet"}')
    for path in (args.data, args.record):
        if not path.exists():
            raise FileNotFoundError(f'{str(path)!r} does not exist')
    scores, labels, classes = predict(args.name, args.data, args.batch_size)
    record = json.loads(args.record.read_text(encoding='utf-8'))
    row = rows[args.name]
    file = Path(row['file'])
    shipped = dict(weights=args.name, sha256=row['sha256'], data=args.label, **figures(scores, labels, classes))
    record['shipped'] = shipped
    args.record.write_text(json.dumps(record, indent=1) + '\n', encoding='utf-8')
    card = file.with_suffix('.md')
    card.write_text(render(args.name, record, file.stat().st_size), encoding='utf-8')
    print(
        f'{args.name}: {shipped["accuracy"]:.2f} % of {shipped["images"]} images; written to {card} and {args.record}'
    )


@torch.no_grad()
def predict(name: str, folder: Path, batch_size: int) -> tuple[Tensor, Tensor, list[str]]:
    """Probabilities (N, classes), labels (N,) and class names of a folder, through timm's own transform."""
    import timm
    from timm.data import create_transform, resolve_model_data_config
    from torchvision.datasets import ImageFolder

    model = timm.create_model(name, pretrained=True).eval()
    images = ImageFolder(folder, create_transform(**resolve_model_data_config(model)))
    batches = torch.utils.data.DataLoader(images, batch_size)
    scores = [model(x).softmax(1) for x, _ in batches]
    return torch.cat(scores), torch.tensor(images.targets), images.classes


def figures(scores: Tensor, labels: Tensor, classes: Sequence[str]) -> dict[str, Any]:
    """Accuracy and its value for each class in percent, and the expected calibration error in percent."""
    confidence, predicted = scores.max(1)
    right = (predicted == labels).double()
    per_class = {name: _percent(right[labels == i].mean()) for i, name in enumerate(classes)}
    return dict(
        images=len(labels),
        accuracy=_percent(right.mean()),
        calibration_error=_percent(calibration_error(confidence, right)),
        per_class=per_class,
    )


def calibration_error(confidence: Tensor, right: Tensor) -> Tensor:
    """Mean distance of confidence and accuracy over 15 bins of equal width (arXiv:1706.04599, Eq. 3)."""
    bins = (confidence * BINS).long().clamp(max=BINS - 1)
    gaps = [(confidence[bins == b].double() - right[bins == b]).sum().abs() for b in bins.unique()]
    return torch.stack(gaps).sum() / len(right)


def _percent(share: Tensor) -> float:
    return round(100 * share.item(), 2)


def render(name: str, record: dict[str, Any], size: int) -> str:
    """The model card in Markdown."""
    shipped, last = record['shipped'], record['curve'][-1]
    optimizer = record['settings']['optim_wrapper']['optimizer']
    settings = ', '.join(f'{k} {v}' for k, v in optimizer.items() if k != 'type')
    batch = record['settings']['train_dataloader']['batch_size']
    images, tested = record['data']['train']['samples'], shipped['images']
    per_class = '\n'.join(f'| {label} | {value:.2f} |' for label, value in shipped['per_class'].items())
    return f"""# {name}

`timm.create_model('{name}', pretrained=True)` after `import ranet_mm`; no download.

| | |
| --- | --- |
| Data | {shipped['data']}: {images:,} images to train on, {tested:,} to test on |
| Accuracy | **{shipped['accuracy']:.2f} %** on the test images, one view, last epoch, seed {record['seed']} |
| Calibration error | {shipped['calibration_error']:.2f} % (15 bins) |
| Recipe | `{record['config']}`, epochs: {last['epoch']}, batch {batch}, {optimizer['type']} ({settings}) |
| Command | `{record['command']}` |
| Cost | {record['seconds'] / 60:.0f} minutes on {record['hardware']} |
| Made at | commit `{record['commit']}`, torch {record['versions']['torch']} |
| File | {size / 2**20:.1f} MiB, SHA-256 `{shipped['sha256']}` |

The figures are of the file as it ships, through the transform that timm resolves for the model.
{record.get('note', '')}

| Class | Accuracy, % |
| --- | ---: |
{per_class}

## Limits

{shipped['data']} is not the standard benchmark file, so this accuracy is not comparable with published ones. There is
one seed, hence no spread. The model knows ten classes of 32x32 images and has been tested on nothing else.
"""


main = common.entry(write_card, parse_args)
