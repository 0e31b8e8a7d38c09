"""Strip a checkpoint down to its weights: safetensors for timm and a .pth for OpenMMLab, SHA-256 in their names."""

from __future__ import annotations

import hashlib
import io
import json
from argparse import BooleanOptionalAction, Namespace
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import files
from ..weights import description, keys, showing
from ..weights.read import ABOUT, read, weights_of
from .program import command, option

DIGITS = 8  # of the SHA-256 in a file's name, as many as torch.hub checks
KEPT = ('epoch', 'iter', 'mmengine_version', 'dataset_meta')


@command(
    option('checkpoint', help='checkpoint of a training run, of OpenMMLab or of timm'),
    option('name', help='start of the names to write, as in published/att56_digits'),
    option('--ema', action=BooleanOptionalAction,
           help='the averaged weights, or those as trained; the averaged ones where there are some by default'),
    option('--model', help='timm name of the model, where the checkpoint does not say it'),
)  # fmt: skip
def main(args: Namespace) -> None:
    """Check the weights against the model, write the files, and say how to load them."""
    checkpoint = read(args.checkpoint)
    state, averaged = weights_of(checkpoint, args.ema)
    about = description.of_checkpoint(checkpoint, state)
    about['architecture'] = args.model or about['architecture']
    contents = {'.pth': pth(checkpoint, state, about)}
    unknown = description.unknown_to_timm(about) if find_spec('timm') else ''
    if unknown:
        print(f'no file for timm, which has no layer like {unknown}')
    elif keys.is_classifier(state):
        if about['architecture'] and find_spec('timm'):
            description.build(about, state)
        about, of_timm = showing.in_rgb(about, state)
        contents['.safetensors'] = safetensors(of_timm, about)
    paths = write(args.name, contents)
    print(f'{len(state)} tensors, {"averaged over the run" if averaged else "as trained"}')
    for suffix, path in paths.items():
        data = contents[suffix]
        print(f'{path}  {len(data) / 2**20:.1f} MiB  SHA-256 {hashlib.sha256(data).hexdigest()}')
    if about['architecture'] and '.safetensors' in paths:
        tell(about)
        print(f'timm: {loading(about, paths[".safetensors"])}')


def tell(about: Mapping[str, Any]) -> None:
    """Say how timm's transform and a softmax differ from testing."""
    if other := showing.unsaid(about):
        print(f"timm's own transform comes near to the pipeline of testing and is not the same, for {other}; "
              '`ranet predict --checkpoint` shows images as in testing')  # fmt: skip
    if not about.get('exclusive', True):
        print('labels do not exclude each other: take a sigmoid of the logits, as `ranet predict` does')


def safetensors(state: Mapping[str, Tensor], about: Mapping[str, Any]) -> bytes:
    """The file for timm, which says in its metadata what model it holds."""
    from safetensors.torch import save

    tensors = {key: value.contiguous() for key, value in state.items()}
    return save(tensors, metadata={ABOUT: json.dumps(about)})


def pth(checkpoint: Mapping[str, Any], state: Mapping[str, Tensor], about: Mapping[str, Any]) -> bytes:
    """The file for OpenMMLab: weights, class names, and what model it holds."""
    meta = {key: value for key, value in (checkpoint.get('meta') or {}).items() if key in KEPT}
    if keys.is_classifier(state):
        state = keys.of_classifier(state)
    tensors = {key: value.clone() for key, value in state.items()}  # a view would be saved with all that it views
    buffer = io.BytesIO()  # a path would get into the file, and so into its digest
    torch.save(dict(meta={**meta, ABOUT: about}, state_dict=tensors), buffer)
    return buffer.getvalue()


def write(name: str, contents: Mapping[str, bytes]) -> dict[str, Path]:
    """Write each content to a file named after its digest, all of them or none; returns the paths by ending.

    Raises:
        FileExistsError: A file of that name exists.
    """
    start = name.removesuffix('.pth').removesuffix('.safetensors')
    paths = {end: Path(f'{start}-{hashlib.sha256(data).hexdigest()[:DIGITS]}{end}') for end, data in contents.items()}
    for path in paths.values():
        if path.exists():
            raise FileExistsError(f'{str(path)!r} exists already: these weights have been published under this name')
    for suffix, path in paths.items():
        files.write(path, contents[suffix])
    return paths


def loading(about: Mapping[str, Any], path: Path) -> str:
    """The Python call that creates the model with these weights.

    `num_classes` stands among the weights' own fields: timm replaces the classifier of weights with another number.
    """
    overlay = {'file': str(path), **description.own_cfg(about)}
    given = ''.join(f', {key}={value!r}' for key, value in about['model_args'].items())
    return f'timm.create_model({about["architecture"]!r}{given}, pretrained=True, pretrained_cfg_overlay={overlay})'
