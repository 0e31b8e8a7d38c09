"""Measure images/s and peak memory of models side by side, in each form that they run in, forward or in training."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator
from itertools import product
from typing import Any

import torch
from torch import nn

from .. import files
from ..deployment import has_deploy_form
from ..lab import speed
from ..lab.speed import Contender
from ..machine import keep_memory
from ..runtimes import DTYPES, WORDS, words_of
from . import program
from .program import COUNT, FILE, Positive, command, option, shared, table

PIXELS = {**COUNT, 'metavar': 'PIXELS'}
COLUMNS = ('model', 'params', 'images/s', 'lowest', 'highest', 'ratio', 'lowest', 'highest')


@command(
    option(
        'models',
        nargs='+',
        metavar='MODEL',
        help='names in timm, or module:callable (file.py:callable) that gives a model; ratios are to the first',
    ),
    option(
        '--forms',
        nargs='+',
        metavar='FORM',
        help=f'forms of each model, words joined by +: {", ".join(WORDS)} (eager by default)',
    ),
    option('--baseline', metavar='NAME', help="what ratios are to, by the table's name (the first by default)"),
    option('--train', action='store_true', help='whole training steps instead of forward passes'),
    option('--bound', action='store_true', help='the same convolutions alone take turns too'),
    '--device',
    '--batch-size',
    shared('--options', help='arguments of every model of timm'),
    option('--dtype', choices=('float32', *DTYPES), default='float32', help='other than float32 by autocast'),
    option('--channels-last', action='store_true', help='memory order N, H, W, C'),
    option('--compile', action='store_true', help='compiled: residual units where there are some, else the whole'),
    option('--size', **PIXELS, help="side of the images (each model's own by default)"),
    option('--rounds', **COUNT, default=10, help='turns of each model'),
    option('--seconds', type=float, action=Positive, default=0.5, help='least length of a turn'),
    option('--json', **FILE, help='write every turn to this file too'),
)
def main(args: Namespace) -> None:
    """Measure, print a table, and write JSON where it is asked for."""
    device = checked_device(args.device)
    forms = [*dict.fromkeys('+'.join(form_of(form, args)) for form in args.forms or ['eager'])]
    for form in forms:
        words_of(form, args.train)
    kept = keep_memory()
    contenders = [*prepared(args, forms, device)]
    if not contenders:
        raise ValueError(f'--forms {" ".join(forms)} is not allowed: no model of these has such a form')
    first = baseline(contenders, args.baseline)
    speed.measure(contenders, args.batch_size, args.rounds, args.seconds, device)
    found = report(contenders, first, args, device, kept)
    if args.json:
        files.write_json(args.json, found)
    print(f'{found["mode"]}, {found["settings"]}, {found["hardware"]}')
    columns = (*COLUMNS, *['over bound'] * args.bound, 'peak MiB')
    print(table([columns, *(cells(row, args.bound) for row in found['models'])]))


def checked_device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f'device={name!r} is not allowed: it is not here, or PyTorch was built without it') from error
    return device


def form_of(form: str, args: Namespace) -> list[str]:
    """The words of a form, with those that stand for all forms on the command line."""
    common = [word for word in ('channels_last', 'compile') if getattr(args, word)]
    common += [args.dtype] * (args.dtype != 'float32')
    words = [word for word in form.split('+') if word != 'eager' or not common]
    return [*words, *(word for word in common if word not in words)]


def prepared(args: Namespace, forms: list[str], device: torch.device) -> Iterator[Contender]:
    """Each model in each form, and its convolutions where they are asked for."""
    bounds: dict[tuple, Contender] = {}
    for given, form in product(args.models, forms):
        label, _, name = given.rpartition('=')
        model = built(name, args)
        if 'deploy' in form.split('+') and not has_deploy_form(model):
            print(f'{label or name} has no deploy form: {form} is left out', file=sys.stderr)
            continue
        images = torch.randn(args.batch_size, *shape_of(model, name, args), device=device)
        title = label or name if len(forms) == 1 else f'{label or name} {form}'
        yield (runner := speed.contender(title, model.to(device), form, images, args.train))
        if args.bound:
            kind = name, form == 'eager', next((word for word in form.split('+') if word in DTYPES), None)
            if kind not in bounds:
                layers = speed.convolutions(title, built(name, args).to(device), form, images, args.train)
                yield bounds.setdefault(kind, layers)
            runner.bound = bounds[kind]


def baseline(contenders: list[Contender], name: str | None) -> Contender:
    """The one that ratios are to.

    Raises:
        ValueError: There is none of that name.
    """
    found = {contender.name: contender for contender in contenders}
    if name and name not in found:
        raise ValueError(f'--baseline {name!r} is not allowed: it must be one of {", ".join(found)}')
    return found[name] if name else contenders[0]


def built(name: str, args: Namespace) -> nn.Module:
    torch.manual_seed(0)
    if ':' in name:
        return speed.called(name).train(args.train)
    import timm

    program.check_timm_model(name)
    return timm.create_model(name, **program.parse_options(args.options)).train(args.train)


def shape_of(model: nn.Module, name: str, args: Namespace) -> tuple[int, int, int]:
    """Channels, height and width of the images.

    Raises:
        ValueError: Neither the model nor an option says the size.
    """
    chans, *sides = getattr(model, 'pretrained_cfg', {}).get('input_size', (3, None))
    size = args.size or sides[-1]
    if size is None:
        raise ValueError(f'--size is missing: model {name!r} does not say the size of its images')
    return getattr(model, 'in_chans', chans), size, size


def report(
    contenders: list[Contender], first: Contender, args: Namespace, device: torch.device, kept: bool
) -> dict[str, Any]:
    """Everything measured, and on what."""
    threads = f' with {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}'
    hardware = torch.cuda.get_device_name(device) if device.type == 'cuda' else device.type + threads
    asked = [args.dtype, f'batch {args.batch_size}', f'{args.rounds} rounds']
    asked += [*(word for word in ('channels_last', 'compile') if getattr(args, word)), *args.options]
    return dict(
        mode='train' if args.train else 'forward', settings=', '.join(asked), options=args.options, hardware=hardware,
        arguments={name: value for name, value in vars(args).items() if name not in ('json', 'debug')},
        torch=torch.__version__, memory_kept=kept, models=[speed.summary(c, first) for c in contenders],
    )  # fmt: skip


def cells(found: dict[str, Any], bound: bool) -> list[str]:
    """A row of the table."""
    speeds = [f'{value:.1f}' for value in found['images_per_second'].values()]
    ratios = [f'{value:.2f}' for value in found['ratio'].values()]
    over = [f'{found["over_bound"]["median"]:.2f}' if found['over_bound'] else '-'] * bound
    peak = '-' if found['peak_mib'] is None else f'{found["peak_mib"]:,.0f}'
    return [found['name'], f'{found["params"]:,}', *speeds, *ratios, *over, peak]


parse_args = main.parse_args
