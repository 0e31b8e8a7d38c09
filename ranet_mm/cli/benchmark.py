"""Measure images/s and peak memory of timm models side by side, forward or in training.

The models take turns, so that whatever else the machine does slows them all; ratios are of turns of one round.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from argparse import Namespace
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ..compiling import compiled_units
from . import program
from .program import COUNT, FILE, Positive, command, option, seconds, shared, table

DTYPES = ('float32', 'float16', 'bfloat16')
COLUMNS = ('model', 'params', 'images/s', 'lowest', 'highest', 'ratio', 'lowest', 'highest', 'peak MiB')
PIXELS = {**COUNT, 'metavar': 'PIXELS'}
MIB = 2**20


@dataclass
class Contender:
    """A model, one step of it, and what was measured.

    Attributes:
        params: Learned values.
        step: Computes one batch.
        peak: MiB that one step holds at most, weights, gradients and momentum included; None where not known.
        speeds: Images/s of each turn.
    """

    name: str
    params: int
    step: Callable[[], None]
    peak: float | None = None
    speeds: list[float] = field(default_factory=list)


@command(
    option('models', nargs='+', metavar='MODEL', help='names in timm; ratios are to the first'),
    option('--train', action='store_true', help='whole training steps instead of forward passes'),
    '--device',
    '--batch-size',
    shared('--options', help='arguments of every model'),
    option('--dtype', choices=DTYPES, default='float32', help='other than float32 by autocast'),
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
    contenders = [prepare(name, args, device) for name in args.models]
    measure(contenders, args, device)
    found = report(contenders, args, device)
    if args.json:
        program.write_json(args.json, found)
    print(f'{"training" if args.train else "forward"}, {found["settings"]}, {found["hardware"]}')
    print(table([COLUMNS, *map(cells, found['models'])]))


def checked_device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f'device={name!r} is not allowed: it is not here, or PyTorch was built without it') from error
    return device


def prepare(name: str, args: Namespace, device: torch.device) -> Contender:
    """Build a model and its step, warm up, and see what one step needs."""
    import timm

    program.check_timm_model(name)
    torch.manual_seed(0)
    model = timm.create_model(name, **program.parse_options(args.options)).to(device).train(args.train)
    if args.channels_last:
        model.to(memory_format=torch.channels_last)
    params = sum(p.numel() for p in model.parameters())
    size = args.size or model.pretrained_cfg['input_size'][-1]
    chans = getattr(model, 'in_chans', model.pretrained_cfg['input_size'][0])
    images = torch.randn(args.batch_size, chans, size, size, device=device)
    if args.channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    run = torch.compile(model) if args.compile and not compiled_units(model, {}) else model
    step = (training if args.train else forward)(run, model, images, args.dtype)
    step()  # compiles, chooses algorithms, and makes gradients and momentum
    return Contender(name, params, step, peak_memory(step, device, resident(model, args.train) + images.nbytes))


def forward(run: Callable, model: nn.Module, images: torch.Tensor, dtype: str) -> Callable[[], None]:
    def step() -> None:
        with torch.inference_mode(), precision(images.device, dtype):
            run(images)

    return step


def training(run: Callable, model: nn.Module, images: torch.Tensor, dtype: str) -> Callable[[], None]:
    """SGD with momentum on random labels; without loss scaling, which costs nothing to speak of."""
    optimizer = torch.optim.SGD(model.parameters(), 1e-4, momentum=0.9)
    labels = torch.randint(model.num_classes, (len(images),), device=images.device)

    def step() -> None:
        with precision(images.device, dtype):
            loss = F.cross_entropy(run(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def precision(device: torch.device, dtype: str) -> torch.autocast:
    return torch.autocast(device.type, getattr(torch, dtype), enabled=dtype != 'float32')


def resident(model: nn.Module, train: bool) -> int:
    """Bytes that stay between steps: weights and statistics, and in training one momentum for each weight."""
    weights = sum(p.nbytes for p in model.parameters())
    return weights * (1 + train) + sum(b.nbytes for b in model.buffers())


def peak_memory(step: Callable[[], None], device: torch.device, kept: int) -> float | None:
    """MiB of `kept` bytes and of what one step allocates on top at most; None where that cannot be seen."""
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        step()
        return (torch.cuda.max_memory_allocated(device) - before + kept) / MIB
    if device.type != 'cpu':
        return None
    os.environ.setdefault('KINETO_LOG_LEVEL', '99')  # it would look for a GPU, and report that there is none
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True, acc_events=True
    ) as profile:
        step()
    return (highest(allocations(profile)) + kept) / MIB


def allocations(profile: torch.profiler.profile) -> list[int]:
    """Bytes allocated (positive) and freed (negative), in order."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'trace.json')
        profile.export_chrome_trace(str(path))
        events = json.loads(path.read_text())['traceEvents']
    found = [e for e in events if e.get('name') == '[memory]']
    return [e['args']['Bytes'] for e in sorted(found, key=lambda e: e['ts'])]


def highest(changes: Sequence[int]) -> int:
    """The highest sum on the way."""
    return max(accumulate(changes, initial=0))


def measure(contenders: Sequence[Contender], args: Namespace, device: torch.device) -> None:
    """Let each take its turn in every round, another one first each time."""
    turns = deque((c, math.ceil(args.seconds / seconds(c.step, 1, device))) for c in contenders)
    for _ in range(args.rounds):
        for contender, steps in turns:
            contender.speeds.append(steps * args.batch_size / seconds(contender.step, steps, device))
        turns.rotate(-1)


def report(contenders: Sequence[Contender], args: Namespace, device: torch.device) -> dict[str, Any]:
    """Everything measured, and on what."""
    threads = f' with {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}'
    hardware = torch.cuda.get_device_name(device) if device.type == 'cuda' else device.type + threads
    asked = [args.dtype, f'batch {args.batch_size}', f'{args.rounds} rounds']
    asked += [*(word for word in ('channels_last', 'compile') if getattr(args, word)), *args.options]
    return dict(
        mode='train' if args.train else 'forward', settings=', '.join(asked), options=args.options, hardware=hardware,
        torch=torch.__version__, models=[summary(c, contenders[0]) for c in contenders],
    )  # fmt: skip


def summary(contender: Contender, first: Contender) -> dict[str, Any]:
    """Median, lowest and highest of speed and of its ratio to the first model's, and every turn."""
    ratios = [a / b for a, b in zip(contender.speeds, first.speeds, strict=True)]
    return dict(
        name=contender.name, params=contender.params, images_per_second=spread(contender.speeds),
        ratio=spread(ratios), peak_mib=contender.peak, turns=contender.speeds,
    )  # fmt: skip


def spread(values: Sequence[float]) -> dict[str, float]:
    return dict(median=median(values), lowest=min(values), highest=max(values))


def cells(found: dict[str, Any]) -> list[str]:
    """A row of the table."""
    speeds = [f'{value:.1f}' for value in found['images_per_second'].values()]
    ratios = [f'{value:.2f}' for value in found['ratio'].values()]
    peak = '-' if found['peak_mib'] is None else f'{found["peak_mib"]:,.0f}'
    return [found['name'], f'{found["params"]:,}', *speeds, *ratios, peak]


parse_args = main.parse_args
