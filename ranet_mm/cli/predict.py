"""Classify images: the most probable classes of each."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .. import weights
from . import checkpoints, common

COLUMNS = ('image', 'class', 'probability')


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    shipped = list(weights.index())
    parser = common.Parser(prog='predict', description=__doc__)
    parser.add_argument('images', nargs='+', metavar='IMAGE', help='image files')
    parser.add_argument('--model', help=f'name in timm, with the tag of its weights ({shipped[0]} by default)')
    parser.add_argument('--checkpoint', metavar='FILE', help='weights from a file, of timm or of OpenMMLab')
    parser.add_argument('--topk', type=int, default=5, metavar='K', help='classes to show of each image')
    parser.add_argument('--json', metavar='FILE', help='write every probability to this file too')
    parser.add_argument('--batch-size', type=int, default=32, metavar='N')
    parser.add_argument('--device', default='cpu', help='where to compute, as in cuda')
    parser.add_argument('--debug', action='store_true', help='show the traceback of an error')
    args = parser.parse_args(argv)
    common.require_positive(parser, args, 'topk', 'batch_size')
    if not args.model and not args.checkpoint:
        args.model = shipped[0]
    return args


def predict(args: argparse.Namespace) -> None:
    """Print a table, and write JSON where it is asked for.

    Raises:
        FileNotFoundError: An image or the checkpoint does not exist.
        ValueError: A file cannot be read, or the weights are not the model's.
    """
    for path in args.images:
        if not Path(path).is_file():
            raise FileNotFoundError(f'image {path!r} does not exist')
    model = load(args.model, args.checkpoint).to(args.device)
    names = class_names(model)
    found = []
    for path, scores in zip(args.images, probabilities(model, args.images, args.batch_size, args.device), strict=True):
        ranked = sorted(zip(scores.tolist(), names, strict=True), key=lambda pair: -pair[0])
        found.append(dict(image=path, predictions=[dict(label=name, probability=p) for p, name in ranked]))
    if args.json:
        of = args.checkpoint or args.model
        Path(args.json).write_text(json.dumps(dict(weights=of, images=found), indent=1) + '\n', encoding='utf-8')
    print(common.table([COLUMNS, *rows(found, args.topk)], left=2))


def load(name: str | None, checkpoint: str | None) -> nn.Module:
    """The model with its weights, shipped ones or those of a file, which may say what model it holds."""
    if not checkpoint:
        return shipped(name)
    found = checkpoints.read(checkpoint)
    state, _ = checkpoints.weights_of(found)
    about = checkpoints.about(found, state)
    about['architecture'] = name or about['architecture']
    if about['architecture'] is None:
        raise ValueError(f'checkpoint {checkpoint!r} does not say what model it holds: name one by --model')
    return checkpoints.build(about, state)


def shipped(name: str) -> nn.Module:
    import timm

    if not timm.is_model(name.partition('.')[0]):
        raise ValueError(f'model {name!r} is not known: `{common.COMMAND} models` lists ours, and timm has others')
    return timm.create_model(name, pretrained=True).eval()


def class_names(model: nn.Module) -> Sequence[str]:
    """Names that come with the weights, or else numbers."""
    return model.pretrained_cfg.get('label_names') or [str(i) for i in range(model.num_classes)]


@torch.inference_mode()
def probabilities(model: nn.Module, paths: Sequence[str], batch_size: int, device: str) -> Iterable[Tensor]:
    """One vector of (classes,) for each image, which are transformed as timm does for this model."""
    from timm.data import create_transform, resolve_model_data_config

    transform = create_transform(**resolve_model_data_config(model))
    for start in range(0, len(paths), batch_size):
        images = [transform(read_image(path)) for path in paths[start : start + batch_size]]
        yield from model(torch.stack(images).to(device)).float().softmax(1).cpu()


def read_image(path: str) -> Any:
    """An RGB image of PIL.

    Raises:
        ValueError: The file is no whole image.
    """
    from PIL import Image

    try:
        with Image.open(path) as file:
            return file.convert('RGB')
    except OSError as error:
        raise ValueError(f'image {path!r} cannot be read whole: {error}') from error


def rows(found: Sequence[dict[str, Any]], topk: int) -> Iterable[tuple[str, str, str]]:
    """The table's rows; an image is named in the first of its own."""
    for image in found:
        for place, guess in enumerate(image['predictions'][:topk]):
            yield '' if place else image['image'], guess['label'], f'{100 * guess["probability"]:.2f} %'


main = common.entry(predict, parse_args)
