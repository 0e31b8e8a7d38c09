"""Convert weights between timm, OpenMMLab, the authors' Caffe files and the ports in PyTorch and MXNet."""

from __future__ import annotations

import json
import logging
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from .. import files
from ..arch import ARCHS, ArchCfg, named, nearest, resolve_arch
from ..weights import convert as converters
from ..weights import dump, keys, showing
from ..weights.convert.common import check_ours
from ..weights.description import FIELDS, OWN, PLAIN, computed, contradictions, network_of, of_checkpoint, tuples
from ..weights.fit import check
from ..weights.read import ABOUT, npz, tensors
from ..weights.read import read as read_checkpoint
from .program import command, option, parse_options

State = dict[str, Tensor]


def read_tensors(path: str) -> State:
    return tensors(read_checkpoint(path)['state_dict'])


def read_ours(path: str, arch: ArchCfg) -> State:
    checkpoint = read_checkpoint(path)
    differences = contradictions(computed(arch), network_of(checkpoint), left_out=PLAIN)
    check(f'weights {path!r} are of another network', differences)
    return check_ours(keys.plain(tensors(checkpoint['state_dict'])), arch)


def said(args: Namespace, arch: ArchCfg) -> dict[str, Any]:
    """The description that goes along with the weights, of the variant that is written; empty where none was read."""
    if READERS.get(args.source) is not read_ours:
        return {}
    checkpoint = read_checkpoint(args.input)
    about = of_checkpoint(checkpoint, tensors(checkpoint['state_dict']))
    if not about['architecture']:
        return {}
    name, changed = nearest(arch)
    others = {k: v for k, v in about['model_args'].items() if k in (*PLAIN, *OWN)}
    return dict(about, architecture=name, model_args=changed | others)


def read_caffe(path: str, arch: ArchCfg) -> State:
    blobs: dict[str, list[np.ndarray]] = {}
    for name, array in sorted(npz(path).items()):
        blobs.setdefault(name.rpartition('/')[0], []).append(array)
    return converters.from_caffe(blobs, arch)


READERS = {'timm': read_ours, 'openmmlab': read_ours, 'caffe-npz': read_caffe}
# What reads a file, converts what was read and tells the variant of it.
PORTS: dict[str, tuple[Callable, Callable, Callable]] = {
    'tengshaofeng': (read_tensors, converters.from_tengshaofeng, converters.tengshaofeng_arch),
    'gluoncv-npz': (npz, converters.from_gluoncv, converters.gluoncv_arch),
}


def read(args: Namespace) -> tuple[ArchCfg, State]:
    """The variant and its weights under our keys."""
    options = parse_options(args.options)
    if args.source in PORTS:
        load, convert, tell = PORTS[args.source]
        source = load(args.input)
        arch = tell(source)
        if args.arch and resolve_arch(args.arch, **options) != replace(arch, compat=None):
            raise ValueError(f'arch={args.arch!r} is not allowed: the weights are of {named(arch)}')
        return arch, convert(source)
    arch = resolve_arch(args.arch, **options) if args.arch else replace(arch_of(args), **options)
    return arch, READERS[args.source](args.input, arch)


def arch_of(args: Namespace) -> ArchCfg:
    """The variant that the input says it is of.

    Raises:
        ValueError: It says none.
    """
    found = read_checkpoint(args.input) if READERS[args.source] is read_ours else {}
    about = of_checkpoint(found, tensors(found['state_dict'])) if found else {}
    if about.get('architecture') not in ARCHS:
        raise ValueError(f'--arch is missing: it must be one of {", ".join(ARCHS)}')
    changed = {k: v for k, v in tuples(about['model_args']).items() if k in FIELDS}
    return resolve_arch(about['architecture'], **changed)


def write(draft: Path, state: State, arch: ArchCfg, args: Namespace) -> None:
    """Write weights under the keys that are asked for, with what the source says of its network, images and classes.

    From OpenMMLab to OpenMMLab, the run's record goes along.
    """
    if args.target == 'caffe-npz':
        blobs = converters.to_caffe(state, arch, bn_dims=4)
        np.savez(draft, **{f'{layer}/{i}': blob for layer, parts in blobs.items() for i, blob in enumerate(parts)})
        return
    about, more = said(args, arch), {}
    if args.target == 'openmmlab':
        state = keys.of_classifier(state)
        record = read_checkpoint(args.input).get('record') if args.source == 'openmmlab' else None
        more = dict(record=record) if record else {}
    elif about:
        about, state = showing.in_rgb(about, state)
    if draft.suffix == '.safetensors':
        from safetensors.torch import save

        whole = {key: value.contiguous() for key, value in state.items()}
        draft.write_bytes(save(whole, metadata={ABOUT: json.dumps(about)} if about else None))
        return
    if about:
        classes = about['pretrained_cfg'].get('label_names')
        more['meta'] = {ABOUT: about} | (dict(dataset_meta=dict(classes=classes)) if classes else {})
    dump(dict(state_dict=state, **more) if more else state, draft)


def check_paths(args: Namespace) -> None:
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


@command(
    option('input', help='.npz, .safetensors or a file of torch.save'),
    option('output', help='.npz for caffe-npz, otherwise .safetensors or .pth'),
    option('--from', dest='source', choices=[*READERS, *PORTS], required=True, help='keys of the input'),
    option('--to', dest='target', choices=READERS, required=True, help='keys of the output'),
    option('--arch', help='name of the variant; ports tell theirs by their keys, and some files say it'),
    '--options',
    '--overwrite',
    option('--deepen', metavar='NAME', help='variant with more attention modules to write, of the same logits'),
)
def main(args: Namespace) -> None:
    check_paths(args)
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    arch, state = read(args)
    if args.deepen:
        target = resolve_arch(args.deepen, **parse_options(args.options))
        arch, state = target, converters.deepened(state, arch, target)
    with files.whole(args.output, files.check_zip) as draft:
        write(draft, state, arch, args)
    print(f'wrote {args.output}: {len(state)} tensors of {named(arch)}')
