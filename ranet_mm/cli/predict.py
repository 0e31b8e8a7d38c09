"""Classify images: the most probable classes of each."""

from __future__ import annotations

import json
import textwrap
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from .. import image_files, weights
from ..images import read as read_image
from ..machine import cores
from ..weights import description
from ..weights.read import read, weights_of
from .program import FILE, Positive, check_timm_model, command, option, table

DEFAULT = next(iter(weights.index()))  # model
COLUMNS = ('image', 'class', 'probability')
MANY = 100  # images, above which progress is shown
DECODERS = 4  # threads at most


@command(
    option('images', nargs='+', metavar='IMAGE',
           help="image files, folders of them, or quoted patterns: 'photos/**/*.jpg'"),
    option('--model', help=f'name in timm, with the tag of its weights ({DEFAULT} by default)'),
    '--checkpoint',
    '--batch-size',
    '--device',
    option('--topk', type=int, action=Positive, default=5, metavar='K', help='classes to show of each image'),
    option('--json', **FILE, help='write every probability to this file too'),
)  # fmt: skip
def main(args: Namespace) -> None:
    """Print a table, and write JSON where it is asked for; images that cannot be read cost no others theirs."""
    paths = image_files.find(args.images)
    model = load(args.model, args.checkpoint).to(args.device)
    names = model.pretrained_cfg.get('label_names') or [str(i) for i in range(model.num_classes)]
    results = probabilities(model, paths, args.batch_size, args.device)
    quiet = None if len(paths) > MANY else True  # None: where standard error is no terminal
    bar = tqdm(results, 'predicting', len(paths), leave=False, unit=' images', disable=quiet)
    results = dict(zip(paths, bar, strict=True))
    found = {path: result for path, result in results.items() if isinstance(result, Tensor)}
    unread = [str(result) for result in results.values() if not isinstance(result, Tensor)]
    if args.json and found:
        write_json(args.json, args.checkpoint or args.model or DEFAULT, ranked(found, names))
    if found:
        print(table([COLUMNS, *rows(ranked(found, names), args.topk)], left=2))
    if unread:
        others = [f'the other {len(found)} of {len(paths)} images are predicted'] if found else []
        raise ValueError('; '.join(unread + others))


def load(name: str | None, checkpoint: str | None) -> nn.Module:
    """The model with its weights, shipped ones or those of a file, which may say what model it holds."""
    if not checkpoint:
        import timm

        check_timm_model(name or DEFAULT)
        return timm.create_model(name or DEFAULT, pretrained=True).eval()
    found = read(checkpoint)
    state, _ = weights_of(found)
    about = description.of_checkpoint(found, state)
    about['architecture'] = name or about['architecture']
    if about['architecture'] is None:
        raise ValueError(f'checkpoint {checkpoint!r} does not say what model it holds: name one by --model')
    return description.build(about, state)


@torch.inference_mode()
def probabilities(
    model: nn.Module, paths: Sequence[str], batch_size: int, device: str
) -> Iterator[Tensor | ValueError]:
    """A vector of (classes,) for each image, transformed as timm does for this model; an error for one unreadable."""
    from timm.data import create_transform, resolve_model_data_config

    transform = create_transform(**resolve_model_data_config(model))

    def read(path: str) -> Tensor | ValueError:
        try:
            image = read_image(path)
        except ValueError as error:
            return error
        return transform(image)

    with ThreadPoolExecutor(min(DECODERS, cores())) as pool:
        for start in range(0, len(paths), batch_size):
            batch = [*pool.map(read, paths[start : start + batch_size])]
            images = [image for image in batch if isinstance(image, Tensor)]
            scores = iter(model(torch.stack(images).to(device)).float().softmax(1).cpu() if images else ())
            for image in batch:
                yield next(scores) if isinstance(image, Tensor) else image


def ranked(found: Mapping[str, Tensor], names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Each image with its classes, the most probable one first."""
    for path, scores in found.items():
        pairs = sorted(zip(scores.tolist(), names, strict=True), key=lambda pair: -pair[0])
        yield dict(image=path, predictions=[dict(label=name, probability=p) for p, name in pairs])


def write_json(path: Path, weights: str, images: Iterable[dict[str, Any]]) -> None:
    """`{"weights": ..., "images": [...]}`, image by image, so that no more than one is text at a time."""
    with path.open('w', encoding='utf-8') as file:
        file.write(f'{{\n "weights": {json.dumps(weights)},\n "images": [')
        separator = '\n'
        for image in images:
            file.write(separator + textwrap.indent(json.dumps(image, indent=1), '  '))
            separator = ',\n'
        file.write('\n ]\n}\n')


def rows(found: Iterable[dict[str, Any]], topk: int) -> Iterable[tuple[str, str, str]]:
    """The table's rows; an image is named in the first of its own."""
    for image in found:
        for place, guess in enumerate(image['predictions'][:topk]):
            yield '' if place else image['image'], guess['label'], f'{100 * guess["probability"]:.2f} %'
