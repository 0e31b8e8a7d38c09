"""Classify images: the most probable classes of each."""

from __future__ import annotations

import json
import sys
import textwrap
from argparse import ArgumentError, Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from .. import files, image_files, weights
from ..deployment import has_deploy_form
from ..images import read as read_image
from ..lab import exported, shown
from ..machine import cores
from ..runtimes import ON_CPU, RUNTIMES, Run, for_each_size, missing, words_of
from ..weights import description, showing
from ..weights.read import read, weights_of
from .program import FILE, Positive, check_timm_model, command, option, shared, table

DEFAULT = next(iter(weights.index()))  # model
COLUMNS = ('image', 'class', 'probability')
MANY = 100  # images, above which progress is shown
DECODERS = 4  # threads at most
MORE = 2000  # images, from which on OpenVINO's reading of the network pays


@command(
    option('images', nargs='+', metavar='IMAGE',
           help="image files, folders of them, or quoted patterns: 'photos/**/*.jpg'"),
    option('--model', help=f'name in timm, with the tag of its weights ({DEFAULT} by default)'),
    shared('--checkpoint', help='weights from a file, of timm, of OpenMMLab, or of `ranet export` (.onnx, .xml)'),
    '--batch-size',
    '--device',
    option('--runtime', choices=RUNTIMES,
           help='what computes: PyTorch with normalization folded into convolutions (deploy, the default), or as it is '
           '(eager), or compiled; or another library, where it is installed (openvino is the default on a CPU for '
           f'{MORE:,} images or more; int8 is OpenVINO in 8-bit integers)'),
    option('--calibration', nargs='+', metavar='IMAGE',
           help='with --runtime int8: training images to take the ranges of values from, as in a folder of them'),
    option('--topk', type=int, action=Positive, default=5, metavar='K', help='classes to show of each image'),
    option('--json', **FILE, help='write every probability to this file too'),
)  # fmt: skip
def main(args: Namespace) -> None:
    """Print a table, and write JSON where it is asked for; images that cannot be read cost no others theirs."""
    if (args.runtime == 'int8') != bool(args.calibration):
        raise ArgumentError(None, '--runtime int8 and --calibration need each other')
    words_of(args.runtime or 'eager')
    paths = image_files.find(args.images)
    model = load(args.model, args.checkpoint).to(args.device)
    form = form_for(model, args, len(paths))
    said = getattr(model, 'description', {})
    names = class_names(model)
    other_sizes: set[str] = set()
    calibration = shown.calibration(model, args.calibration, read_image) if args.calibration else None
    run = for_each_size(model, form, calibration)
    results = probabilities(model, paths, args.batch_size, args.device, other_sizes, run)
    quiet = None if len(paths) > MANY else True  # None: where standard error is no terminal
    bar = tqdm(results, 'predicting', len(paths), leave=False, unit=' images', disable=quiet)
    results = dict(zip(paths, bar, strict=True))
    found = {path: result for path, result in results.items() if isinstance(result, Tensor)}
    unread = [str(result) for result in results.values() if not isinstance(result, Tensor)]
    if args.json and found:
        write_json(args.json, args.checkpoint or args.model or DEFAULT, ranked(found, names))
    if found:
        print(table([COLUMNS, *rows(ranked(found, names), args.topk)], left=2))
        tell(said, len(other_sizes), len(paths))
    if unread:
        others = [f'the other {len(found)} of {len(paths)} images are predicted'] if found else []
        raise ValueError('; '.join(unread + others))


def form_for(model: nn.Module, args: Namespace, images: int) -> str:
    """The form that is asked for, or else the fastest for so many images.

    Raises:
        ValueError: Another one, or another device, than that of a file of `ranet export`.
    """
    if isinstance(model, exported.Exported):
        if args.runtime or args.device != 'cpu':
            asked = f'--runtime {args.runtime}' if args.runtime else f'--device {args.device}'
            raise ValueError(f'{asked} is not allowed with {args.checkpoint!r}: its own library computes on the CPU')
        return 'eager'
    form = args.runtime or 'deploy'
    if form in ON_CPU and args.device != 'cpu':
        raise ValueError(f'--device {args.device} is not allowed with --runtime {form}, which computes on the CPU')
    if form == 'deploy' and not has_deploy_form(model):
        return 'eager'
    pays = images >= MORE and args.device == 'cpu' and one_size(getattr(model, 'description', {}).get('pipeline'))
    if args.runtime or not pays or missing('openvino'):
        return form
    print(f'hint: OpenVINO computes from {MORE:,} images on (--runtime deploy: PyTorch does)', file=sys.stderr)
    return 'openvino'


def one_size(pipeline: showing.Pipeline | None) -> bool:
    """Whether all images become of one size: other libraries read the network anew for each. timm's transform crops."""
    return pipeline is None or any('Crop' in showing.short(step['type']) for step in showing.steps(pipeline))


def load(name: str | None, checkpoint: str | None) -> nn.Module:
    """The model with its weights, shipped ones or those of a file, which may say what model it holds."""
    if not checkpoint:
        import timm

        check_timm_model(name or DEFAULT)
        return timm.create_model(name or DEFAULT, pretrained=True).eval()
    if Path(checkpoint).suffix in exported.READERS:
        return exported.Exported(checkpoint)
    found = read(checkpoint)
    state, _ = weights_of(found)
    about = description.of_checkpoint(found, state)
    about['architecture'] = name or about['architecture']
    if about['architecture'] is None:
        raise ValueError(f'checkpoint {checkpoint!r} does not say what model it holds: name one by --model')
    return description.build(about, state)


def class_names(model: nn.Module) -> list[str]:
    """A name for each of the model's classes, which is its number where nothing names it.

    Raises:
        ValueError: The model has no classifier.
    """
    if not model.num_classes:
        raise ValueError('the checkpoint has no classifier: there is nothing to predict with')
    named = [*map(str, model.pretrained_cfg.get('label_names') or [])][: model.num_classes]
    return named + [str(i) for i in range(len(named), model.num_classes)]


@torch.inference_mode()
def probabilities(
    model: nn.Module, paths: Sequence[str], batch_size: int, device: str, other_sizes: set[str], run: Run
) -> Iterator[Tensor | ValueError]:
    """A vector of (classes,) for each image, shown as in testing (see `lab.shown`); an error for one unreadable.

    Args:
        model: On its device.
        paths: Of the images.
        batch_size: Images at a time, of each size.
        device: Where the model is.
        other_sizes: Gets the paths of images of another size than the one trained with, where nothing resizes them.
        run: The model in the form that is to compute.
    """
    read = shown.reader(model, read_image)
    said = getattr(model, 'description', {})
    trained = () if showing.resizes(said.get('pipeline')) else said['pretrained_cfg'].get('input_size', ())[1:]

    def attempt(path: str) -> Tensor | ValueError:
        try:
            return read(path)
        except ValueError as error:
            return error

    with ThreadPoolExecutor(min(DECODERS, cores())) as pool:
        for start in range(0, len(paths), batch_size):
            chunk = paths[start : start + batch_size]
            found = dict(zip(chunk, pool.map(attempt, chunk), strict=True))
            for shape in dict.fromkeys(image.shape for image in found.values() if isinstance(image, Tensor)):
                alike = [path for path, image in found.items() if getattr(image, 'shape', None) == shape]
                if trained and tuple(shape[1:]) != tuple(trained):
                    other_sizes.update(alike)
                found.update(zip(alike, scores(model, [found[p] for p in alike], alike, device, run), strict=True))
            yield from found.values()


def scores(
    model: nn.Module, images: Sequence[Tensor], paths: Sequence[str], device: str, run: Run
) -> Sequence[Tensor] | list[ValueError]:
    """Probabilities of images of one size."""
    said = getattr(model, 'description', {})
    batch = shown.preprocess(torch.stack(images).to(device), said)
    try:
        logits = run(batch).float()
    except ValueError as error:  # an input of this size is not allowed
        return [ValueError(f'image {path!r} cannot be shown to the network: {error}') for path in paths]
    return chances(logits, said).cpu()


def chances(logits: Tensor, said: Mapping[str, Any]) -> Tensor:
    """Probabilities, (N, classes): of a softmax, or each by itself where labels do not exclude each other."""
    return logits.softmax(1) if said.get('exclusive', True) else logits.sigmoid()


def tell(said: Mapping[str, Any], others: int, images: int) -> None:
    """Say on standard error what the table does not show."""
    if not said.get('exclusive', True):
        print('labels do not exclude each other: each has a probability of its own', file=sys.stderr)
    if said.get('data_preprocessor') is not None and said.get('pipeline') is None:
        print('hint: the checkpoint says no test pipeline; images are shown as timm does', file=sys.stderr)
    if others:
        height, width = said['pretrained_cfg']['input_size'][1:]
        print(
            f'hint: {others} of {images} images are not of the {width}x{height} pixels that the network was trained '
            'with; they are classified at their own size, as in testing',
            file=sys.stderr,
        )


def ranked(found: Mapping[str, Tensor], names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Each image with its classes, the most probable one first."""
    for path, scores in found.items():
        pairs = sorted(zip(scores.tolist(), names, strict=True), key=lambda pair: -pair[0])
        yield dict(image=path, predictions=[dict(label=name, probability=p) for p, name in pairs])


def write_json(path: Path, weights: str, images: Iterable[dict[str, Any]]) -> None:
    """`{"weights": ..., "images": [...]}`, image by image, so that no more than one is text at a time."""
    with files.whole(path) as draft, draft.open('w', encoding='utf-8') as file:
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
