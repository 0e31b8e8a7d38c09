"""Checkpoints of timm and of OpenMMLab as timm takes them: the weights, and the model that they belong to."""

from __future__ import annotations

import argparse
import ast
import json
from collections.abc import Mapping
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..arch import ARCHS, ArchCfg, resolve_arch
from ..convert.common import changed_fields
from ..weights import fitting, plain_keys

ABOUT = 'ranet_mm'  # under this name a published file says what model it holds, as timm's own config.json does
BYTE = 255


def read(path: str) -> dict[str, Any]:
    """A checkpoint with its weights under `state_dict`, read without running code from it.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file cannot be read so, or holds no weights.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'checkpoint {path!r} does not exist')
    torch.serialization.add_safe_globals([argparse.Namespace])  # timm keeps its options in one
    if find_spec('mmengine'):
        from ..mm.checkpoint import read_checkpoint  # knows what MMEngine stores besides tensors

        checkpoint = read_checkpoint(path)
    elif path.endswith('.safetensors'):
        from safetensors.torch import load_file

        checkpoint = dict(state_dict=load_file(path))
    else:
        checkpoint = _read_pickled(path)
    if path.endswith('.safetensors'):
        checkpoint['meta'] = {ABOUT: _metadata(path)}
    return checkpoint if 'state_dict' in checkpoint else dict(state_dict=checkpoint)


def _read_pickled(path: str) -> dict[str, Any]:
    try:
        found = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:
        raise ValueError(f'checkpoint {path!r} cannot be read without running code from it') from error
    state = found.get('state_dict', found) if isinstance(found, Mapping) else {}
    if not any(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f'checkpoint {path!r} holds no weights')
    return found


def _metadata(path: str) -> dict[str, Any] | None:
    from safetensors import safe_open

    with safe_open(path, 'pt') as file:
        text = (file.metadata() or {}).get(ABOUT)
    return None if text is None else json.loads(text)


def weights_of(checkpoint: Mapping[str, Any], averaged: bool | None = None) -> tuple[dict[str, Tensor], bool]:
    """The weights, and whether they are averages over the run.

    Args:
        checkpoint: What `read` gave.
        averaged: Take the averages (True), the weights as trained (False), or averages where there are some.

    Raises:
        ValueError: Averages are asked for and there are none.
    """
    state, kept, of_timm = (checkpoint.get(key) for key in ('state_dict', 'ema_state_dict', 'state_dict_ema'))
    if averaged and kept is None and of_timm is None:
        raise ValueError('--ema is not allowed: the checkpoint has no averaged weights')
    averaged = averaged is not False and not kept is of_timm is None
    if averaged and of_timm is not None:
        state = of_timm
    elif not averaged and kept is not None:  # MMEngine swaps the two before it saves
        state = {**state, **{k.removeprefix('module.'): v for k, v in kept.items() if k.startswith('module.')}}
    return {k.removeprefix('module.'): v for k, v in state.items() if isinstance(v, Tensor)}, averaged


def about(checkpoint: Mapping[str, Any], state: Mapping[str, Tensor]) -> dict[str, Any]:
    """What the checkpoint says of its model, in the layout of timm's `config.json`.

    Returns:
        `architecture` (None where it is not said), `model_args` and `pretrained_cfg`.
    """
    meta = checkpoint.get('meta') or {}
    if meta.get(ABOUT):
        return meta[ABOUT]
    state = plain_keys(state)
    architecture, model_args, pretrained_cfg = checkpoint.get('arch'), {}, {}
    if isinstance(meta.get('cfg'), str):
        architecture, model_args, pretrained_cfg = of_settings(plain_settings(meta['cfg'])).values()
    labels = (meta.get('dataset_meta') or {}).get('classes')
    if labels:
        pretrained_cfg['label_names'] = list(labels)
    if 'head.fc.bias' in state:
        pretrained_cfg['num_classes'] = len(state['head.fc.bias'])
    if 'stem.conv.weight' in state and state['stem.conv.weight'].shape[1] != 3:
        model_args['in_chans'] = state['stem.conv.weight'].shape[1]
    return dict(architecture=architecture, model_args=model_args, pretrained_cfg=pretrained_cfg)


def of_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a config says of its model, in the layout of `about`."""
    architecture, model_args = _variant(settings.get('model') or {})
    return dict(architecture=architecture, model_args=model_args, pretrained_cfg=_normalization(settings))


def plain_settings(text: str) -> dict[str, Any]:
    """Model and preprocessing in the text of a config, where they are plain data; nothing of it is run."""
    try:
        lines = ast.parse(text).body
    except SyntaxError:
        return {}
    values = {ast.unparse(line.targets[0]): line.value for line in lines if isinstance(line, ast.Assign)}
    return {name: _plain(values[name]) for name in ('model', 'data_preprocessor') if name in values}


def _plain(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
        return {k.arg: _plain(k.value) for k in node.keywords}
    if isinstance(node, ast.List | ast.Tuple):
        return [_plain(entry) for entry in node.elts]
    try:
        return ast.literal_eval(node)
    except ValueError:  # a call
        return None


def _variant(model: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """Name and changed options of an OpenMMLab model's backbone."""
    while 'module' in model:
        model = model['module']
    backbone = model.get('backbone') or {}
    if not str(backbone.get('type')).endswith('ResidualAttentionNet'):
        return None, {}
    own = {f.name for f in fields(ArchCfg)}
    named = backbone.get('arch', 'attention56')
    arch = resolve_arch(named, **{k: v for k, v in backbone.items() if k in own})
    name = named if named in tuple(ARCHS) else min(ARCHS, key=lambda n: len(changed_fields(arch, ARCHS[n])))
    return name, changed_fields(arch, ARCHS[name])


def _normalization(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Mean and standard deviation on timm's scale, where 1 is white."""
    model = settings.get('model') or {}
    preprocessor = model.get('data_preprocessor') or settings.get('data_preprocessor') or {}
    return {k: [v / BYTE for v in preprocessor[k]] for k in ('mean', 'std') if preprocessor.get(k)}


def tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The same with tuples in place of lists, which JSON made of them."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}


def build(about: Mapping[str, Any], state: Mapping[str, Tensor]) -> nn.Module:
    """The timm model with its weights, in evaluation mode.

    Raises:
        ValueError: The model is unknown, or the weights are another's.
    """
    import timm

    if about['architecture'] not in ARCHS:
        raise ValueError(
            f'model {about["architecture"]!r} of the checkpoint is not known: name one of {", ".join(ARCHS)}'
        )
    cfg = about['pretrained_cfg']
    model = timm.create_model(
        about['architecture'],
        num_classes=cfg.get('num_classes', 0),
        pretrained_cfg_overlay=tuples(cfg),
        **about['model_args'],
    )
    model.load_state_dict(fitting(state, model))
    return model.eval()
