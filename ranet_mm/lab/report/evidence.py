"""What a network answers on its test images, and what it is shown then."""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ...images import read as open_image
from ...mm.data.restored import restored
from ...weights.read import read as read_weights
from .. import predictions, shown
from ..predictions import Predictions

if TYPE_CHECKING:
    from mmengine.runner import Runner

Look = Callable[[int], tuple[Tensor, Tensor]]


@dataclass
class Evidence:
    """Answers on N images, and the means to look at some of them again."""

    found: Predictions
    model: nn.Module
    look: Look  # number of an image -> its picture (3, H, W) in 0..1, and the batch (1, C, H, W) that the network gets


def of_run(
    config: Path, checkpoint: Path, options: dict[str, Any] | None = None, number: int | None = None
) -> Evidence:
    """Test a run's checkpoint as `ranet test` does, and write nothing into its work dir.

    Args:
        config: Of the run; it is a program, and is run.
        checkpoint: Of the run.
        options: Changes of the config.
        number: Of images, evenly spread over the test images; all by default.

    Raises:
        FileNotFoundError: The checkpoint does not exist, or the data do not.
        ValueError: The checkpoint cannot be read, or the config is not of a classifier with test images.
    """
    from ...mm import config as configs

    read_weights(str(checkpoint))
    with tempfile.TemporaryDirectory() as folder:
        args = argparse.Namespace(
            config=str(config), cfg_options=options, work_dir=folder, no_pin_memory=False, launcher='none'
        )
        cfg = configs.load_config(args)
        scope = cfg.get('default_scope', 'mmpretrain')
        if scope in configs.LIBRARIES:
            raise ValueError(f'config {str(config)!r} is of {scope}, and answers are drawn of classifiers alone')
        if not cfg.get('test_dataloader'):
            raise ValueError(f'config {str(config)!r} has no test_dataloader')
        cfg.load_from, cfg.resume = str(checkpoint), False
        runner = configs.build_runner(cfg)
        found = test(runner, Path(folder) / 'predictions.pkl', number)
    return Evidence(found, runner.model.eval(), looker(runner))


def test(runner: Runner, path: Path, number: int | None) -> Predictions:
    """The runner's answers on its test images, which go through a file."""
    dataset = runner.test_dataloader.dataset
    if number and number < len(dataset):
        if not hasattr(dataset, 'get_subset_'):
            raise ValueError(f'a part of a data set of type {type(dataset).__name__!r} cannot be taken')
        dataset.get_subset_(spread(len(dataset), number))
    runner.test_evaluator.metrics.append(predictions.dump(str(path)))
    with redirect_stdout(io.StringIO()):
        runner.test()
    found = predictions.from_samples(predictions.read_samples(str(path)))
    found.classes = (runner.test_evaluator.dataset_meta or {}).get('classes', ())
    return predictions.checked(found)


def spread(images: int, number: int) -> list[int]:
    """So many numbers of images, evenly from the first to the last."""
    return torch.linspace(0, images - 1, number).round().long().unique().tolist()


def looker(runner: Runner) -> Look:
    loader, preprocessor = runner.test_dataloader, runner.model.data_preprocessor

    def look(index: int) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            batch = preprocessor(loader.collate_fn([loader.dataset[index]]), False)['inputs']
        return restored(batch[0], preprocessor).cpu(), batch

    return look


def of_files(model: nn.Module, found: Predictions) -> Evidence:
    """Answers of a model of timm or of a checkpoint on files, which `found` names; see `lab.shown`."""
    said, read = getattr(model, 'description', {}), shown.reader(model, open_image)

    def look(index: int) -> tuple[Tensor, Tensor]:
        image = read(found.images[index])[None]
        batch = shown.preprocess(image.to(next(model.parameters()).device), said)
        return shown.undone(batch, model)[0], batch

    return Evidence(found, model.eval(), look)


def worst(found: Predictions, number: int) -> list[int]:
    """The wrong answers, the most confident first."""
    confidence, taken_for = found.scores.max(1)
    wrong = (taken_for != found.labels).nonzero().flatten()
    return wrong[confidence[wrong].argsort(descending=True, stable=True)][:number].tolist()


def right(found: Predictions, number: int) -> list[int]:
    """Right answers, evenly over the classes."""
    places = (found.scores.argmax(1) == found.labels).nonzero().flatten()
    ordered = places[found.labels[places].argsort(stable=True)].tolist()
    return [ordered[i] for i in spread(len(ordered), number)] if ordered else []


def interleaved(first: Sequence[int], second: Sequence[int]) -> list[int]:
    """One of each in turn, and then what is left of the longer."""
    pairs = [i for pair in zip(first, second, strict=False) for i in pair]
    shorter = min(len(first), len(second))
    return [*pairs, *first[shorter:], *second[shorter:]]
