"""Draw what a network attends to in images: a sheet of its masks for each."""

from __future__ import annotations

import re
from argparse import ArgumentError, Namespace
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from .. import files, image_files
from ..attention import REDUCE, attention_maps, merges
from ..images import read as read_image
from ..lab import shown
from ..lab.classifier import DEFAULT, chances, class_names, load
from ..network import MIN_SIZE
from ..sheets import Seen, comparison, overview, strip
from .program import Program, command, option

STEPS = 8  # checkpoints of a run that have a column at most
CHECKPOINT = re.compile(r'(epoch|iter|checkpoint)[_-](\d+)\.pth(\.tar)?$')  # of MMEngine, of timm


def kinds(program: Program) -> None:
    """What a sheet shows."""
    group = program.add_mutually_exclusive_group()
    group.add_argument(
        '--compare',
        action='store_true',
        help="the paper's Figure 1: the feature before each mask, the mask, and the feature after it",
    )
    group.add_argument('--run', metavar='DIR', type=Path, help='how the masks change over the checkpoints of a run')
    group.add_argument('--against', metavar='NAME|FILE', help='the masks of another model too, beneath')  # fmt: skip


@command(
    option('images', nargs='+', metavar='IMAGE',
           help="image files, folders of them, or quoted patterns: 'photos/**/*.jpg'"),
    option('--out', metavar='DIR', type=Path, required=True, help='folder for the sheets'),
    option('--model', help=f'name in timm, with the tag of its weights ({DEFAULT} by default)'),
    '--checkpoint',
    kinds,
    option('--channels', nargs='+', type=int, metavar='N',
           help="channels to compare (the one in which each module's mask adds most by default)"),
    option('--reduce', choices=REDUCE, default='mean', help='how channels become one map (mean by default)'),
    option('--size', type=int, metavar='PIXELS',
           help='show images to the network at this size instead of the one it was trained with'),
    '--device',
    '--overwrite',
)  # fmt: skip
def main(args: Namespace) -> None:
    """Write a PNG for each image; images that cannot be read cost no others theirs."""
    check(args)
    paths = image_files.find(args.images)
    models = [(label, prepared(model, args)) for label, model in loaded(args)]
    sheets = dict(zip(paths, targets(paths, args), strict=True))
    unread = []
    for path in tqdm(paths, 'drawing', leave=False, unit=' sheets', disable=None):
        try:
            seen = [look(model, path, label, args.device) for label, model in models]
        except ValueError as error:
            unread.append(str(error))
            continue
        with files.whole(sheets[path]) as draft:
            drawn(seen, args).savefig(draft, format='png', pil_kwargs=dict(optimize=True))
        print(sheets[path])
    if unread:
        others = [f'the other {len(paths) - len(unread)} of {len(paths)} images are drawn'] * (len(unread) < len(paths))
        raise ValueError('; '.join(unread + others))


def check(args: Namespace) -> None:
    if args.channels and not args.compare:
        raise ArgumentError(None, '--channels is not allowed without --compare')
    if args.run and args.checkpoint:
        raise ArgumentError(None, '--run is not allowed besides --checkpoint: it has checkpoints of its own')
    if args.size is not None and args.size < MIN_SIZE:
        raise ArgumentError(None, f'--size {args.size} is not allowed: it must be {MIN_SIZE} or more')


# Models -------------------------------------------------------------------------------------------------


def loaded(args: Namespace) -> list[tuple[str, nn.Module]]:
    """What images are shown to, each with what to call it on the sheet."""
    if args.run:
        return [(label, load(args.model, str(path))) for label, path in checkpoints(args.run)]
    models = [(args.checkpoint or args.model or DEFAULT, load(args.model, args.checkpoint))]
    if args.against:
        is_file = Path(args.against).exists()
        models.append((args.against, load(*(None, args.against) if is_file else (args.against, None))))
    return models


def checkpoints(run: Path) -> list[tuple[str, Path]]:
    """Those of a run in their order, the first and the last and as many between as there are columns for.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: It holds no checkpoint.
    """
    if not run.is_dir():
        raise FileNotFoundError(f'run {str(run)!r} does not exist: it must be the folder of a run, with checkpoints')
    found = {}
    for path in sorted(run.iterdir(), key=lambda path: path.name):  # the best one gives way to its epoch
        if match := CHECKPOINT.search(path.name):
            label = 'iteration' if match[1] == 'iter' else 'epoch'
            found[label, int(match[2])] = path
    if not found:
        raise ValueError(f'run {str(run)!r} holds no checkpoint: allowed are names as in epoch_3.pth')
    steps = sorted(found, key=lambda step: step[::-1])
    columns = min(STEPS, len(steps))
    chosen = [steps[round(i * (len(steps) - 1) / max(1, columns - 1))] for i in range(columns)]
    return [(f'{label} {number}', found[label, number]) for label, number in chosen]


def prepared(model: nn.Module, args: Namespace) -> nn.Module:
    """The model on its device, shown images of the size that is asked for.

    Raises:
        ValueError: It has no attention modules, or its checkpoint says how images are resized.
    """
    merges(model)
    if args.size is not None:
        if getattr(model, 'description', {}).get('pipeline') is not None:
            raise ValueError(f"--size {args.size} is not allowed: the checkpoint's own test pipeline gives the size")
        cfg = model.pretrained_cfg
        model.pretrained_cfg = {**cfg, 'input_size': (cfg['input_size'][0], args.size, args.size)}
    return model.to(args.device)


def look(model: nn.Module, path: str, label: str, device: str) -> Seen:
    """An image shown to a model as in `ranet predict`.

    Raises:
        ValueError: It cannot be read, or not be shown to the network.
    """
    said = getattr(model, 'description', {})
    batch = shown.preprocess(shown.reader(model, read_image)(path)[None].to(device), said)
    try:
        maps = attention_maps(model, batch)
        with torch.inference_mode():
            scores = chances(model(batch).float(), said)[0].cpu() if model.num_classes else torch.empty(0)
    except ValueError as error:
        raise ValueError(f'image {path!r} cannot be shown to the network: {error}') from error
    names = class_names(model) if model.num_classes else []
    guesses = sorted(zip(names, scores.tolist(), strict=True), key=lambda guess: -guess[1])
    found = {name: type(m)(*(x.cpu() for x in m)) for name, m in maps.items()}
    return Seen(shown.undone(batch, model)[0], found, guesses, Path(path).name, label)


# Sheets -------------------------------------------------------------------------------------------------


def targets(paths: Sequence[str], args: Namespace) -> list[Path]:
    """A file for each image, named after it, with a number where several have one name.

    Raises:
        FileExistsError: One is there and may not be replaced.
    """
    kind = next((name for name in ('compare', 'run', 'against') if getattr(args, name)), 'attend')
    names: dict[str, Path] = {}
    for stem in (Path(path).stem for path in paths):
        tried = (f'{stem}{number}-{kind}.png' for number in chain([''], (f'-{n}' for n in count(2))))
        name = next(name for name in tried if name.lower() not in names)  # on some disks, either case is the same
        names[name.lower()] = args.out / name
    files = [*names.values()]
    there = [file for file in files if file.exists()]
    if there and not args.overwrite:
        raise FileExistsError(f'{str(there[0])!r} exists: --overwrite replaces it')
    return files


def drawn(seen: Sequence[Seen], args: Namespace) -> Any:
    if args.compare:
        return comparison(seen[0], args.channels or ())
    if args.run:
        steps = [(one.model, one) for one in seen]
        seen[0].model = str(args.run)
        return strip(steps, args.reduce)
    return overview(seen, args.reduce)
