"""Convert weights between timm, OpenMMLab, the authors' Caffe files and the ports in PyTorch and MXNet."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..arch import ARCHS, ArchCfg, nearest, resolve_arch
from ..weights import keys
from ..weights.convert import (
    deepened,
    from_caffe,
    from_gluoncv,
    from_tengshaofeng,
    gluoncv_arch,
    tengshaofeng_arch,
    to_caffe,
)
from ..weights.convert.common import check_ours
from ..weights.read import npz, tensors
from ..weights.read import read as read_checkpoint
from . import program

State = dict[str, Tensor]


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = program.Parser('convert', __doc__)
    parser.add_argument('input', help='.npz, .safetensors or a file of torch.save')
    parser.add_argument('output', help='.npz for caffe-npz, otherwise .safetensors or .pth')
    parser.add_argument('--from', dest='source', choices=[*READERS, *PORTS], required=True, help='keys of the input')
    parser.add_argument('--to', dest='target', choices=WRITERS, required=True, help='keys of the output')
    parser.add_argument('--arch', help='name of the variant; ports tell theirs by their keys')
    parser.share('--options', '--overwrite')
    parser.add_argument(
        '--deepen', metavar='NAME', help='variant with more attention modules to write, of the same logits'
    )
    return parser.parse_args(argv)


# Reading --------------------------------------------------------------------------------------------------


def read_tensors(path: str) -> State:
    return tensors(read_checkpoint(path)['state_dict'])


def read_ours(path: str, arch: ArchCfg) -> State:
    return check_ours(keys.plain(read_tensors(path)), arch)


def read_caffe(path: str, arch: ArchCfg) -> State:
    blobs: dict[str, list[np.ndarray]] = {}
    for name, array in sorted(npz(path).items()):
        blobs.setdefault(name.rpartition('/')[0], []).append(array)
    return from_caffe(blobs, arch)


READERS: dict[str, Callable[[str, ArchCfg], State]] = {
    'timm': read_ours,
    'openmmlab': read_ours,
    'caffe-npz': read_caffe,
}

# What reads a file, converts what was read and tells the variant of it.
PORTS: dict[str, tuple[Callable, Callable, Callable]] = {
    'tengshaofeng': (read_tensors, from_tengshaofeng, tengshaofeng_arch),
    'gluoncv-npz': (npz, from_gluoncv, gluoncv_arch),
}


def read(args: argparse.Namespace) -> tuple[ArchCfg, State]:
    """The variant and its weights under our keys."""
    options = program.parse_options(args.options)
    if args.source in PORTS:
        load, convert, tell = PORTS[args.source]
        source = load(args.input)
        arch = tell(source)
        if args.arch and resolve_arch(args.arch, **options) != replace(arch, compat=None):
            raise ValueError(f'arch={args.arch!r} is not allowed: the weights are of {describe(arch)}')
        return arch, convert(source)
    if not args.arch:
        raise ValueError(f'--arch is missing: it must be one of {", ".join(ARCHS)}')
    arch = resolve_arch(args.arch, **options)
    return arch, READERS[args.source](args.input, arch)


# Writing --------------------------------------------------------------------------------------------------


def write_npz(path: Path, state: State, arch: ArchCfg) -> None:
    blobs = to_caffe(state, arch, bn_dims=4)
    np.savez(path, **{f'{layer}/{i}': blob for layer, parts in blobs.items() for i, blob in enumerate(parts)})


def write_timm(path: Path, state: State, arch: ArchCfg) -> None:
    if path.suffix == '.safetensors':
        from safetensors.torch import save_file

        save_file({key: value.contiguous() for key, value in state.items()}, path)
    else:
        torch.save(state, path)


def write_openmmlab(path: Path, state: State, arch: ArchCfg, record: Mapping[str, Any] | None = None) -> None:
    state = keys.of_classifier(state)
    if record and path.suffix == '.pth':
        torch.save(dict(state_dict=state, record=record), path)
    else:
        write_timm(path, state, arch)


WRITERS: dict[str, Callable[[Path, State, ArchCfg], None]] = {
    'timm': write_timm,
    'openmmlab': write_openmmlab,
    'caffe-npz': write_npz,
}


def check_paths(args: argparse.Namespace) -> None:
    """Refuse paths that cannot be right before anything is read."""
    allowed = ('.npz',) if args.target == 'caffe-npz' else ('.safetensors', '.pth')
    if not Path(args.input).is_file():
        raise FileNotFoundError(f'input {args.input!r} does not exist')
    if Path(args.output).suffix not in allowed:
        raise ValueError(
            f'output {args.output!r} is not allowed: for {args.target} it must end in {" or ".join(allowed)}'
        )
    if Path(args.output).exists() and not args.overwrite:
        raise FileExistsError(f'output {args.output!r} exists: choose another, or replace it by --overwrite')


def convert(args: argparse.Namespace) -> None:
    check_paths(args)
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    arch, state = read(args)
    if args.deepen:
        target = resolve_arch(args.deepen, **program.parse_options(args.options))
        arch, state = target, deepened(state, arch, target)
    write = WRITERS[args.target]
    if args.source == args.target == 'openmmlab':
        write = partial(write_openmmlab, record=read_checkpoint(args.input).get('record', {}))
    with program.whole(Path(args.output)) as part:
        write(part, state, arch)
    print(f'wrote {args.output}: {len(state)} tensors of {describe(arch)}')


def describe(arch: ArchCfg) -> str:
    """The name that comes nearest to a variant, and the options that make it that variant."""
    name, changed = nearest(arch)
    changes = ', '.join(f'{field}={value!r}' for field, value in changed.items())
    return f'{name} with {changes}' if changes else name


main = program.entry(convert, parse_args)
