"""Classify images: the most probable classes of each."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from argparse import ArgumentError, Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
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
MORE = 2000  # images, from which on OpenVINO's reading of the network pays
LINES = '.jsonl'  # ending of a file of lines, which is added to


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

    with ThreadPoolExecutor(cores()) as pool:
        for start in range(0, len(paths), batch_size):
            chunk = paths[start : start + batch_size]
            # Not ahead of the network, which PyTorch may trace just then: it watches modules of other threads too.
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


def ranked(path: str, scores: Tensor, names: Sequence[str]) -> dict[str, Any]:
    """An image with its classes, the most probable one first."""
    pairs = sorted(zip(scores.tolist(), names, strict=True), key=lambda pair: -pair[0])
    return dict(image=path, predictions=[dict(label=name, probability=p) for p, name in pairs])


@contextmanager
def stored(path: Path | None, name: str, lines: Lines | None) -> Iterator[Callable[[dict[str, Any]], Any]]:
    """What takes each image, for the file that is asked for; a file of no image is not written."""
    if path is None or lines:
        yield lines.add if lines else lambda image: None
        return
    with ExitStack() as stack:
        yield Whole(path, name, stack).add


class Whole:
    """`{"weights": ..., "images": [...]}`, image by image, so that no more than one is text at a time.

    Args:
        path: The file, which is there when `stack` is left.
        name: Of the weights.
        stack: Ends and closes the file.
    """

    def __init__(self, path: Path, name: str, stack: ExitStack) -> None:
        self.path, self.name, self.stack, self.file = path, name, stack, None

    def add(self, image: dict[str, Any]) -> None:
        if self.file is None:
            draft = self.stack.enter_context(files.whole(self.path))
            self.file = self.stack.enter_context(draft.open('w', encoding='utf-8'))
            self.file.write(f'{{\n "weights": {json.dumps(self.name)},\n "images": [\n')
            self.stack.callback(self.file.write, '\n ]\n}\n')
        else:
            self.file.write(',\n')
        self.file.write(textwrap.indent(json.dumps(image, indent=1), '  '))


class Lines:
    """A file with a line of JSON for each image, `{"weights": ..., "image": ..., "predictions": [...]}`.

    Each line is written at once and as a whole. A run that was cut off goes on with the images that have none; what it
    left of its last line is taken away.

    Attributes:
        done: The images that have a line.

    Raises:
        ValueError: The file is another, or of other weights.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name, self.done, end = path, name, set(), 0
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            return
        with path.open('rb') as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b'\n'):
                    break
                self.done.add(self._image(line, number))
                end += len(line)
        os.truncate(path, end)

    def _image(self, line: bytes, number: int) -> str:
        try:
            found = json.loads(line)
            image, name = found['image'], found['weights']
        except (ValueError, KeyError, TypeError, RecursionError):
            raise ValueError(f'line {number} of {str(self.path)!r} is no prediction: name another file') from None
        if name != self.name:
            raise ValueError(
                f'line {number} of {str(self.path)!r} is of weights {name!r}, not {self.name!r}: name another file'
            )
        return image

    def add(self, image: dict[str, Any]) -> None:
        line = json.dumps(dict(weights=self.name, **image)) + '\n'
        with self.path.open('ab', buffering=0) as file:
            file.write(line.encode())


def rows(image: dict[str, Any], topk: int) -> Iterator[tuple[str, str, str]]:
    """The table's rows of an image, which is named in the first of them."""
    for place, guess in enumerate(image['predictions'][:topk]):
        yield '' if place else image['image'], guess['label'], f'{100 * guess["probability"]:.2f} %'
