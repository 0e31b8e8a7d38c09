"""Models that take turns, so that whatever else the machine does slows them all; ratios are of turns of one round."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import re
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from statistics import linear_regression, median
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..complexity import complexity
from ..runtimes import DTYPES, PACKAGES, Run, in_form, words_of

MIB = 2**20
CONVS = (nn.Conv2d, nn.ConvTranspose2d)
# kinds of operators by their names in the profiler, the first that matches
KINDS = {
    'convolution': 'conv|mkldnn|gemm|addmm|::linear|::mm',
    'normalization': 'norm|bn_',
    'activation': 'relu|threshold|clamp|sigmoid|minimum|maximum',
    'pooling and interpolation': 'pool|upsample|interpolat',
    'sums and products': 'add|mul|sum',
    'other': '',
}


@dataclass
class Contender:
    """A model in a form, one step of it, and what was measured.

    Attributes:
        params: Learned values.
        step: Computes one batch.
        images: Of a step.
        macs: Multiply-adds of convolutions and linear layers for one image, forward; None where not counted.
        bound: The same convolutions alone, where they take turns too.
        shares: Of a step's time by `KINDS`; empty where not asked for or not known.
        start: Seconds to bring it into the form and to compute the first step, compiling included.
        peak: MiB that one step holds at most, weights, gradients and momentum included; None where not known.
        line: The name without the value of what is varied, which several then share.
        at: That value, where it is a number.
        speeds: Images/s of each turn.
    """

    name: str
    params: int
    step: Callable[[], Any]
    images: int = 1
    macs: int | None = None
    bound: Contender | None = None
    peak: float | None = None
    start: float | None = None
    shares: dict[str, float] = field(default_factory=dict)
    line: str = ''
    at: float | None = None
    speeds: list[float] = field(default_factory=list)


def called(name: str) -> nn.Module:
    """The model that `module:callable` gives; the module may be a file's path.

    Raises:
        ValueError: There is no such callable, or it gives no model.
    """
    place, _, attribute = name.rpartition(':')
    path = Path(place)
    sys.path.insert(0, str(path.parent) if path.suffix == '.py' else os.getcwd())
    try:
        model = getattr(of_file(path) if path.suffix == '.py' else importlib.import_module(place), attribute)()
    except (ImportError, AttributeError, FileNotFoundError) as error:
        raise ValueError(f'model {name!r} is not known: {error}') from error
    finally:
        del sys.path[0]
    if not isinstance(model, nn.Module):
        raise ValueError(f'model {name!r} is not allowed: it gives {type(model).__name__}, and a module is expected')
    return model


def of_file(path: Path) -> ModuleType:
    """A module under its full path, as another file may have the same name."""
    spec = importlib.util.spec_from_file_location(str(path.resolve()), path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def forward(run: Run, model: nn.Module, images: Tensor) -> Callable[[], Any]:
    def step() -> None:
        with torch.inference_mode():
            run(images)

    return step


def training(run: Run, model: nn.Module, images: Tensor) -> Callable[[], Any]:
    """SGD with momentum on random labels; without loss scaling, which costs nothing to speak of."""
    fused = images.device.type in ('cpu', 'cuda') or None
    optimizer = torch.optim.SGD(model.parameters(), 1e-4, momentum=0.9, fused=fused)
    labels = torch.zeros(len(images), dtype=torch.long, device=images.device)

    def step() -> None:
        F.cross_entropy(run(images).float(), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def contender(name: str, model: nn.Module, form: str, images: Tensor, train: bool, profile: bool = False) -> Contender:
    """Bring a model into a form, warm up, and see what one step needs, and where its time goes with `profile`."""
    counted = complexity(model, images[:1])
    held = resident(model.train(train), train) + images.nbytes
    began = time.perf_counter()
    step = (training if train else forward)(in_form(model, form, images, train), model, images)
    step()  # compiles, chooses algorithms, and makes gradients and momentum
    start = time.perf_counter() - began
    foreign = {*words_of(form)} & {*PACKAGES}  # whose memory PyTorch does not see
    peak = None if foreign else peak_memory(step, images.device, held)
    found = shares(step, images.device) if profile and not foreign else {}
    return Contender(name, counted['params'], step, len(images), counted['macs'], peak=peak, start=start, shares=found)


def convolutions(name: str, model: nn.Module, form: str, images: Tensor, train: bool) -> Contender:
    """The convolutions of a model alone, one after the other, on the very maps that they get in it."""
    words = [word for word in words_of(form) if word in DTYPES]
    plain = '+'.join(['eager' if form == 'eager' else 'channels_last', *words])
    found: list[tuple[nn.Module, Tensor]] = []
    hooks = [
        part.register_forward_hook(lambda conv, inputs, out: found.append((conv, inputs[0].detach())))
        for part in model.modules()
        if isinstance(part, CONVS)
    ]
    run = in_form(model, plain, images, train)
    with torch.no_grad():
        run(images)
    for hook in hooks:
        hook.remove()
    dtype = getattr(torch, words[0]) if words else torch.float32
    layers = [(conv.to(dtype), x.to(dtype)) for conv, x in found]
    step = _alone_backward(layers) if train else _alone(layers)
    step()
    params = sum(conv.weight.numel() for conv in {conv for conv, _ in layers})
    return Contender(f'convolutions of {name}', params, step, len(images))


def _alone(layers: Sequence[tuple[nn.Module, Tensor]]) -> Callable[[], Any]:
    def step() -> None:
        with torch.inference_mode():
            for conv, x in layers:
                conv(x)

    return step


def _alone_backward(layers: Sequence[tuple[nn.Module, Tensor]]) -> Callable[[], Any]:
    """With the gradients of weights and inputs, but for those of the image."""
    first = layers[0][1]
    layers = [(conv, x if x is first else x.requires_grad_()) for conv, x in layers]

    def step() -> None:
        for conv, x in layers:
            y = conv(x)
            torch.autograd.grad(y, [conv.weight, *([x] if x.requires_grad else [])], y.detach())

    return step


def resident(model: nn.Module, train: bool) -> int:
    """Bytes that stay between steps: weights and statistics, and in training one momentum for each weight."""
    weights = sum(p.nbytes for p in model.parameters())
    return weights * (1 + train) + sum(b.nbytes for b in model.buffers())


def shares(step: Callable[[], Any], device: torch.device, steps: int = 3) -> dict[str, float]:
    """Of the time of some steps by kind of operator, as the profiler sees it."""
    activity = getattr(torch.profiler.ProfilerActivity, device.type.upper())
    with torch.profiler.profile(activities=[activity], acc_events=True) as profile:
        for _ in range(steps):
            step()
        synchronize(device)
    found, total = dict.fromkeys(KINDS, 0.0), 0.0
    for event in profile.key_averages():
        taken = event.self_cpu_time_total if device.type == 'cpu' else event.self_device_time_total
        kind = next(kind for kind, names in KINDS.items() if re.search(names, event.key.lower()))
        found[kind] += taken
        total += taken
    return {kind: taken / total for kind, taken in found.items()} if total else {}


def peak_memory(step: Callable[[], Any], device: torch.device, kept: int) -> float | None:
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


def measure(contenders: Sequence[Contender], rounds: int, least: float, device: torch.device) -> None:
    """Let each take its turn in every round, another one first each time.

    Args:
        contenders: Their `speeds` are filled.
        rounds: Turns of each.
        least: Seconds of a turn, at least.
        device: What the steps leave work to.
    """
    turns = deque((c, math.ceil(least / seconds(c.step, 1, device))) for c in contenders)
    for _ in range(rounds):
        for runner, steps in turns:
            runner.speeds.append(steps * runner.images / seconds(runner.step, steps, device))
        turns.rotate(-1)


def summary(found: Contender, first: Contender) -> dict[str, Any]:
    """Median, lowest and highest of speed and of its ratios to the first's, time over the bound's, and every turn.

    `ratio` is of images/s; `work_ratio` is of multiply-adds/s, where both are counted.
    """
    over_bound = spread(quotients(found.bound, found)) if found.bound else None
    ratios, work = quotients(found, first), found.macs and first.macs and found.macs / first.macs
    return dict(
        name=found.name, line=found.line, at=found.at, images=found.images, params=found.params, macs=found.macs,
        images_per_second=spread(found.speeds), ratio=spread(ratios),
        work_ratio=spread([work * ratio for ratio in ratios]) if work else None,
        over_bound=over_bound, peak_mib=found.peak, start=found.start, shares=found.shares, turns=found.speeds,
    )  # fmt: skip


def fits(contenders: Sequence[Contender]) -> list[dict[str, Any]]:
    """How the time of a step grows on each line: a in time = c x^a, by least squares of logarithms.

    Returns:
        For each line of several values its `name`, and median, lowest and highest of a: `exponent` for x the value,
        `work_exponent` for x the multiply-adds of a step, None where these are not counted or are the same.
    """
    found = []
    for name in dict.fromkeys(c.line for c in contenders):
        steps = [c for c in contenders if c.line == name and c.at is not None]
        work = [c.macs * c.images for c in steps if c.macs]
        if len({c.at for c in steps}) > 1:
            over_work = _exponents(work, steps) if len(work) == len(steps) and len({*work}) > 1 else None
            found.append(dict(name=name, exponent=_exponents([c.at for c in steps], steps), work_exponent=over_work))
    return found


def _exponents(x: Sequence[float], steps: Sequence[Contender]) -> dict[str, float]:
    """Of each round by itself, whose turns the machine slowed alike."""
    logs = [math.log(value) for value in x]
    rounds = zip(*(c.speeds for c in steps), strict=True)
    times = ([math.log(c.images / speed) for c, speed in zip(steps, turn, strict=True)] for turn in rounds)
    return spread([linear_regression(logs, y).slope for y in times])


def quotients(above: Contender, below: Contender) -> list[float]:
    return [a / b for a, b in zip(above.speeds, below.speeds, strict=True)]


def spread(values: Sequence[float]) -> dict[str, float]:
    return dict(median=median(values), lowest=min(values), highest=max(values))


def seconds(step: Callable[[], Any], steps: int = 1, device: Any = None) -> float:
    """What some steps take, with all that they leave a GPU to do."""
    synchronize(device)
    started = time.perf_counter()
    for _ in range(steps):
        step()
    synchronize(device)
    return time.perf_counter() - started


def synchronize(device: Any = None) -> None:
    """Wait for a GPU, where this process uses one."""
    if torch.cuda.is_initialized() and str(device) != 'cpu':
        torch.cuda.synchronize(device)
