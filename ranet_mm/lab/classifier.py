"""Classifiers as a command line names them, and what they say of image files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .. import weights
from ..images import read as read_image
from ..machine import cores
from ..runtimes import Run
from ..weights import description, showing
from ..weights.read import read, weights_of
from . import exported, shown

DEFAULT = next(iter(weights.index()))  # model


def check_timm_model(name: str) -> None:
    """Raises `ValueError` where timm has no model of that name; a tag of weights may follow it."""
    import timm

    if not timm.is_model(name.partition('.')[0]):
        raise ValueError(f'model {name!r} is not known: `ranet models` lists ours, and timm has others')


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
