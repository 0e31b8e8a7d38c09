"""Write one page of HTML about a run: figures, mistakes, and what it attends to."""

from __future__ import annotations

from argparse import ArgumentError, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from .. import files, image_files
from ..lab.classifier import DEFAULT
from ..lab.predictions import MOST
from ..weights.fit import listed
from .program import COUNT, FILE, check_ending, command, config_changes, option, sentence, shared

if TYPE_CHECKING:
    from ..lab import report
    from ..lab.report.evidence import Evidence

    Found = tuple[report.Subject, Evidence | None, list[str]]

NAME = 'report.html'
WITHOUT = 'no answers, mistakes and masks'


@command(
    option('run', nargs='?', type=Path, metavar='RUN_DIR', help='work dir of a run'),
    config_changes,
    shared('--checkpoint', help="weights to report on instead of the run's last ones, or without a run"),
    option('--model', help='without a run: name in timm, with the tag of its weights'),
    option('--images', metavar='FOLDER', nargs='+',
           help='with --model or --checkpoint: test images, a folder for each class, as in FOLDER/cat/1.jpg'),
    option('--number', **COUNT, help='test images to show to the network, evenly spread; all by default'),
    option('--out', **FILE, help=f'where to write it (RUN_DIR/{NAME} by default)'),
    '--overwrite',
)  # fmt: skip
def main(args: Namespace) -> None:
    """Show the test images to the network and write the page; of what cannot be had it says why."""
    from ..lab import report
    from ..mm.engine.provenance import typed_command

    if (args.run is None) is (args.images is None):
        raise ArgumentError(None, 'either RUN_DIR or --images FOLDER is needed')
    if args.run and args.model:
        raise ArgumentError(None, '--model is not allowed with RUN_DIR, whose config says what model it has')
    out = args.out or (args.run or Path()) / NAME
    check_ending('--out', out, ('.html', '.htm'))
    if out.exists() and not args.overwrite:
        raise FileExistsError(f'{str(out)!r} exists: --overwrite replaces it')
    report.check()
    subject, seen, notes = of_run(args) if args.run else of_images(args)
    page = report.render(subject, seen, notes, typed_command())
    files.write(out, page)
    for note in notes:
        print(note)
    print(f'{subject.title}: {len(page.encode()) / 1e6:.1f} MB written to {out}')


def of_run(args: Namespace) -> Found:
    """The run, and its network's answers, or a sentence that says why there are none.

    What the command line asks for by name must work.
    """
    from ..lab import report
    from ..lab.report import evidence, rundir

    run = rundir.open_run(args.run)
    subject = report.of_run(run)
    checkpoint = Path(args.checkpoint) if args.checkpoint else run.checkpoint
    missing = [what for what, found in dict(config=run.config, checkpoint=checkpoint).items() if found is None]
    if missing:
        return subject, None, [f'The run has no {" and no ".join(missing)}, so this page has {WITHOUT}.']
    try:
        return subject, evidence.of_run(run.config, checkpoint, args.cfg_options, args.number), []
    except (OSError, ValueError, ImportError) as error:
        if args.checkpoint or args.cfg_options or args.number:
            raise
        return subject, None, [f'The checkpoint was not tested: {sentence(error)}. So this page has {WITHOUT}.']


def of_images(args: Namespace) -> Found:
    """Weights, and their answers on images in folders that are named as classes."""
    from ..lab import report
    from ..lab.classifier import class_names, load, probabilities
    from ..lab.predictions import Predictions
    from ..lab.report import evidence
    from ..runtimes import for_each_size

    paths = image_files.find(args.images)
    paths = [paths[i] for i in evidence.spread(len(paths), args.number or len(paths))]
    model = load(args.model, args.checkpoint)
    names = class_names(model)
    labels = [label(path, names) for path in paths]
    scores = list(probabilities(model, paths, 32, 'cpu', set(), for_each_size(model, 'eager')))
    for failed in scores:
        if isinstance(failed, ValueError):
            raise failed
    found = Predictions(torch.stack(scores), torch.tensor(labels), paths, names)
    title = args.model or Path(args.checkpoint or DEFAULT).name
    return report.of_weights(title, model, args.images), evidence.of_files(model, found), []


def label(path: str, names: Sequence[str]) -> int:
    """The number of the class that an image's folder is named as."""
    folder = Path(path).resolve().parent.name
    if folder not in names:
        raise ValueError(f'image {path!r} is in no folder that is named as a class: known are {listed(names, MOST)}')
    return list(names).index(folder)
