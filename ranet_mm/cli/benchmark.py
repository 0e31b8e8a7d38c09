"""Measure images/s and peak memory of models side by side, in each form that they run in, and how their time grows."""

from __future__ import annotations

import re
import sys
from argparse import Namespace
from collections.abc import Iterator
from itertools import product
from typing import Any

import torch
from torch import nn

from .. import files
from ..lab import speed
from ..lab.classifier import check_timm_model
from ..lab.speed import Contender
from ..machine import keep_memory
from ..runtimes import DTYPES, WORDS, fits, words_of
from . import program
from .program import COUNT, FILE, Positive, command, option, shared, table

PIXELS = {**COUNT, 'metavar': 'PIXELS'}
COLUMNS = ('model', 'params', 'GMACs', 'images/s', 'lowest', 'highest', 'ratio', 'lowest', 'highest', 'by MACs')
FITTED = ('time of a step grows with', 'exponent', 'lowest', 'highest', 'over MACs')
ARGUMENTS = ('batch_size', 'size')  # that --vary takes besides depth and options of the network
DEPTH = re.compile(r'(?<=[a-z])\d+(?=_|$)')  # in a model's name


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
    option(
        '--vary',
        nargs='+',
        metavar=('WHAT', 'VALUE'),
        help="each model with each value of batch_size, size, depth (the number in a model's name) or an option of the "
        'network, as in width 0.25 0.5 1; the exponent with which time grows is fitted',
    ),
    option('--train', action='store_true', help='whole training steps instead of forward passes'),
    option('--bound', action='store_true', help='the same convolutions alone take turns too'),
    option('--profile', action='store_true', help='where the time of each goes, by kind of operator'),
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
    torch.backends.cudnn.benchmark = True  # sizes stay: the library may look for its fastest algorithms
    contenders = [contender for change in varied(args) for contender in prepared(change, forms, device)]
    if not contenders:
        raise ValueError(f'--forms {" ".join(forms)} is not allowed: no model of these has such a form')
    first = baseline(contenders, args.baseline)
    speed.measure(contenders, args.rounds, args.seconds, device)
    found = report(contenders, first, args, device, kept)
    if args.json:
        files.write_json(args.json, found)
    print(f'{found["mode"]}, {found["settings"]}, {found["hardware"]}')
    columns = (*COLUMNS, *['over bound'] * args.bound, 'peak MiB')
    print(table([columns, *(cells(row, args.bound) for row in found['models'])]))
    if shares := [model for model in found['models'] if model['shares']]:
        print(table([('percent of the time in', *speed.KINDS), *map(share_cells, shares)]))
    if found['fits']:
        print(table([FITTED, *(fit_cells(fit, args.vary[0]) for fit in found['fits'])]))


def varied(args: Namespace) -> Iterator[Namespace]:
    """The arguments with each value of what is varied, which they then hold as `at`; as they are where nothing is.

    Raises:
        ValueError: A value or a model's name does not allow it.
    """
    what, *values = args.vary or ('', '')
    if args.vary and (not values or len({*values}) < len(values)):
        raise ValueError(f'--vary {" ".join(args.vary)} is not allowed: it must name what, then values that differ')
    for value in values:
        change = Namespace(**{**vars(args), 'at': value})
        if what in ARGUMENTS:
            setattr(change, what, positive(what, value))
        elif what == 'depth':
            change.models = [of_depth(name, value) for name in args.models]
        elif what:
            if foreign := [name for name in args.models if ':' in name]:
                raise ValueError(f'--vary {what} is not allowed with {foreign[0]!r}, which takes no options')
            change.options = [*args.options, f'{what}={value}']
        yield change


def positive(what: str, value: str) -> int:
    if not value.isdecimal() or not int(value):
        raise ValueError(f'--vary {what} {value} is not allowed: values must be whole numbers above 0')
    return int(value)


def of_depth(name: str, depth: str) -> str:
    """The model of another depth: attention56_cifar and 92 make attention92_cifar."""
    if ':' in name or not DEPTH.search(name):
        raise ValueError(f'--vary depth is not allowed with {name!r}, whose name says no depth')
    return DEPTH.sub(depth, name, count=1)


def line_of(title: str, args: Namespace) -> tuple[str, str]:
    """Name of a contender, and of the line that it is on with those of other values."""
    what = (args.vary or [''])[0]
    if what == 'depth' and DEPTH.search(title):
        return title, DEPTH.sub('*', title, count=1)
    return (f'{title} {what}={args.at}' if what else title), title


def number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


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
        if not fits(model, form):
            print(f'{label or name} has no form {form}, which is left out', file=sys.stderr)
            continue
        images = torch.randn(args.batch_size, *shape_of(model, name, args), device=device)
        title, line = line_of(f'{label or name} {form}' if len(forms) > 1 else label or name, args)
        runner = speed.contender(title, model.to(device), form, images, args.train, args.profile)
        runner.line, runner.at = line, number(args.at)
        yield runner
        if args.bound:
            kind = name, form == 'eager', next((word for word in form.split('+') if word in DTYPES), None)
            if kind not in bounds:
                layers = speed.convolutions(title, built(name, args).to(device), form, images, args.train)
                layers.line, layers.at = f'convolutions of {line}', runner.at
                yield bounds.setdefault(kind, layers)
            runner.bound = bounds[kind]


def baseline(contenders: list[Contender], name: str | None) -> dict[str, Contender]:
    """For each contender, by name, the one that its ratios are to: of the same value, where something is varied.

    Raises:
        ValueError: There is none of that name.
    """
    lines = [*dict.fromkeys(c.line for c in contenders)]
    if name and name not in lines:
        raise ValueError(f'--baseline {name!r} is not allowed: it must be one of {", ".join(lines)}')
    firsts = [c for c in contenders if c.line == (name or lines[0])]
    return {c.name: next((first for first in firsts if first.at == c.at), firsts[0]) for c in contenders}


def built(name: str, args: Namespace) -> nn.Module:
    torch.manual_seed(0)
    if ':' in name:
        return speed.called(name).train(args.train)
    import timm

    check_timm_model(name)
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
    contenders: list[Contender], first: dict[str, Contender], args: Namespace, device: torch.device, kept: bool
) -> dict[str, Any]:
    """Everything measured, and on what."""
    threads = f' with {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}'
    hardware = torch.cuda.get_device_name(device) if device.type == 'cuda' else device.type + threads
    what, *values = args.vary or ('',)
    asked = [args.dtype, *[f'batch {args.batch_size}'] * (what != 'batch_size'), f'{args.rounds} rounds']
    asked += [f'{what} {" ".join(values)}'] * bool(what)
    asked += [*(word for word in ('channels_last', 'compile') if getattr(args, word)), *args.options]
    return dict(
        mode='train' if args.train else 'forward', settings=', '.join(asked), options=args.options, hardware=hardware,
        arguments={name: value for name, value in vars(args).items() if name not in ('json', 'debug')},
        torch=torch.__version__, memory_kept=kept, profile=args.profile, fits=speed.fits(contenders),
        models=[speed.summary(c, first[c.name]) for c in contenders],
    )  # fmt: skip


def cells(found: dict[str, Any], bound: bool) -> list[str]:
    """A row of the table."""
    macs = f'{found["macs"] / 1e9:.2f}' if found['macs'] else '-'
    speeds = [f'{value:.1f}' for value in found['images_per_second'].values()]
    ratios = [f'{value:.2f}' for value in found['ratio'].values()]
    middle = [f'{value["median"]:.2f}' if value else '-' for value in (found['work_ratio'], found['over_bound'])]
    peak = '-' if found['peak_mib'] is None else f'{found["peak_mib"]:,.0f}'
    return [found['name'], f'{found["params"]:,}', macs, *speeds, *ratios, *middle[: 1 + bound], peak]


def share_cells(found: dict[str, Any]) -> list[str]:
    return [found['name'], *(f'{100 * share:.0f}' for share in found['shares'].values())]


def fit_cells(found: dict[str, Any], what: str) -> list[str]:
    values = [f'{value:.2f}' for value in found['exponent'].values()]
    over = found['work_exponent']
    return [f'{what}: {found["name"]}', *values, f'{over["median"]:.2f}' if over else '-']


parse_args = main.parse_args
