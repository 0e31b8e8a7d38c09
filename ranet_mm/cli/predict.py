"""Classify images: the most probable classes of each."""

from __future__ import annotations

import sys
from argparse import ArgumentError, Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from tqdm import tqdm

from .. import image_files
from ..deployment import has_deploy_form
from ..images import read as read_image
from ..lab import exported, shown
from ..lab.answers import LINES, Lines, ranked, stored
from ..lab.classifier import DEFAULT, class_names, load, probabilities
from ..runtimes import ON_CPU, RUNTIMES, for_each_size, missing, words_of
from ..weights import showing
from .program import FILE, Positive, command, option, shared, table

COLUMNS = ('image', 'class', 'probability')
MANY = 100  # images, above which progress is shown
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
    option('--json', **FILE, help='write every probability to this file too; '
           f'one whose name ends in {LINES} has a line an image, and goes on where it was cut off'),
)  # fmt: skip
def main(args: Namespace) -> None:
    """Print a table, and write JSON where it is asked for; images that cannot be read cost no others theirs."""
    if (args.runtime == 'int8') != bool(args.calibration):
        raise ArgumentError(None, '--runtime int8 and --calibration need each other')
    words_of(args.runtime or 'eager')
    paths = image_files.find(args.images)
    weights_name = args.checkpoint or args.model or DEFAULT
    lines = Lines(args.json, weights_name) if args.json and args.json.suffix == LINES else None
    if lines:
        paths = [path for path in paths if path not in lines.done]
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
    unread: list[str] = []
    with stored(args.json, weights_name, lines) as keep:
        shown_rows = predicted(zip(paths, bar, strict=True), names, args.topk, unread, keep)
    if shown_rows:
        print(table([COLUMNS, *shown_rows], left=2))
        tell(said, len(other_sizes), len(paths))
    if unread:
        count = len(paths) - len(unread)
        others = [f'the other {count} of {len(paths)} images are predicted'] if count else []
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


def predicted(
    results: Iterable[tuple[str, Tensor | ValueError]],
    names: Sequence[str],
    topk: int,
    unread: list[str],
    keep: Callable[[dict[str, Any]], Any],
) -> list[tuple[str, str, str]]:
    """The table's rows of images as they come; of each no more than these is held.

    Args:
        results: Each image with its probabilities, or with why it has none.
        names: Of the classes.
        topk: Rows of each image.
        unread: Gets the reasons.
        keep: Takes each image with all its classes.
    """
    found: list[tuple[str, str, str]] = []
    for path, result in results:
        if isinstance(result, Tensor):
            image = ranked(path, result, names)
            keep(image)
            found += rows(image, topk)
        else:
            unread.append(str(result))
    return found


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


def rows(image: dict[str, Any], topk: int) -> Iterator[tuple[str, str, str]]:
    """The table's rows of an image, which is named in the first of them."""
    for place, guess in enumerate(image['predictions'][:topk]):
        yield '' if place else image['image'], guess['label'], f'{100 * guess["probability"]:.2f} %'
