"""What a checkpoint, or a config, says of its model: one description, which every reader compares or uses.

It is plain JSON: `architecture` (None where it is not said), `model_args` and `pretrained_cfg` as in timm's
`config.json`; and what `showing.of_settings` gives, where a config said it. By that images are shown to the network to
the last bit as in testing, while timm's fields can only come near to some pipelines.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from math import inf, prod
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..arch import ARCHS, ArchCfg, named, nearest, resolve_arch, units
from . import fit, form, keys, showing
from .convert.common import shapes_of
from .read import ABOUT

TIMES, MOST_CLASSES = 4, 2**15  # beyond what weights have values: parts of them may be made anew
FIELDS = tuple(f.name for f in fields(ArchCfg))
SHAPED = 'img_size', 'flatten'  # say nothing of what a layer computes
GEOMETRY = 'output_stride', 'dilations'  # which dense prediction changes without harm
OF_TRAINING = 'drop_rate', 'drop_path_rate', 'zero_init_last'  # without influence on what weights compute
OWN = 'in_chans', 'global_pool'  # of timm's models, besides: timm adapts weights to others
SETTINGS = (  # fields of a config that say something of its model and its images
    'model', 'data_preprocessor', 'train_dataloader', 'val_dataloader', 'test_dataloader', 'test_pipeline',
)  # fmt: skip
OF_TIMM = 'mean', 'std', 'input_size', 'interpolation', 'crop_pct', 'crop_mode'  # options of its training script too
MEANING = 'mean', 'std', 'num_classes', 'label_names'  # fields of timm's configuration that weights fix
# What a network is built with besides, where nothing is said.
PLAIN = dict(output_stride=32, dilations=None, norm_layer='batchnorm2d', act_layer='relu')
NAMES = dict(
    bn='batchnorm2d', bn2d='batchnorm2d', batchnorm='batchnorm2d', syncbn='batchnorm2d', syncbatchnorm='batchnorm2d',
    mmsyncbn='batchnorm2d', swish='silu', leakyrelu='leaky_relu', hswish='hard_swish', hardswish='hard_swish',
    hsigmoid='hard_sigmoid', hardsigmoid='hard_sigmoid',
)  # fmt: skip


def of_checkpoint(checkpoint: Mapping[str, Any], state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The description of a checkpoint; an older one that was published with it may lack the part on images.

    Raises:
        ValueError: The checkpoint's config is of a network that cannot be.
    """
    about = _said(checkpoint, keys.plain(state))
    if wrong := form.wrong_fields(about):
        raise ValueError(f'what the checkpoint says of its model is damaged: {", ".join(wrong)}')
    _check_size(about, keys.plain(state))
    return about


def _said(checkpoint: Mapping[str, Any], state: Mapping[str, Tensor]) -> dict[str, Any]:
    meta = checkpoint.get('meta') or {}
    if meta.get(ABOUT):
        return meta[ABOUT]
    about = of_checkpoint_of_timm(checkpoint)
    if isinstance(meta.get('cfg'), str):
        try:
            about = of_settings(plain_settings(meta['cfg']))
        except Exception as error:  # calls where plain data are expected, for one
            raise ValueError(f"the checkpoint's config describes no network that is known: {error}") from error
    if labels := classes_of(checkpoint):
        about['pretrained_cfg']['label_names'] = list(labels)
    if f'{keys.CLASSIFIER}.bias' in state:
        about['pretrained_cfg']['num_classes'] = state[f'{keys.CLASSIFIER}.bias'].numel()
    if keys.FIRST_CONV in state and state[keys.FIRST_CONV].shape[1:2] not in ((3,), ()):
        _set_channels(about, state[keys.FIRST_CONV].shape[1])
    return about


def _check_size(about: Mapping[str, Any], state: Mapping[str, Tensor]) -> None:
    """Refuse a network, before it is built, that has far more values than the weights beside its description.

    Raises:
        ValueError: It has, or its options are not allowed.
    """
    if about['architecture'] not in ARCHS or not state:
        return
    args, base = tuples(about['model_args']), ARCHS[about['architecture']]
    if isinstance(side := args.get('img_size'), tuple):
        args['img_size'] = side[0] if side else None
    arch = resolve_arch(base, **{k: args[k] for k in FIELDS if args.get(k) is not None})
    channels, classes = args.get('in_chans', 3), about['pretrained_cfg'].get('num_classes') or 0
    if arch == base and channels == 3 and classes <= MOST_CLASSES:
        return
    values = sum(value.numel() for value in state.values())
    if args.get('global_pool') == 'flatten':
        arch = replace(arch, flatten=True)
    if units(arch) <= len(state) and form.whole(channels, 1) and count(arch, channels, classes) <= TIMES * values:
        return
    raise ValueError(
        f'what the checkpoint says of its model is damaged: {named(arch)} is no network of {values:,} values'
    )


def count(arch: ArchCfg, channels: int, classes: int) -> float:
    """Values of a network; infinity where PyTorch cannot count them."""
    try:
        shapes = shapes_of(arch, classes)
    except RuntimeError:
        return inf
    return sum(map(prod, shapes.values())) + (channels - 3) * prod(shapes[keys.FIRST_CONV]) // 3


def _set_channels(about: dict[str, Any], channels: int) -> None:
    """Say the number of channels, to timm in the size of images too, by which it knows what weights it adapts."""
    about['model_args']['in_chans'] = channels
    side = ARCHS[about['architecture']].img_size if about['architecture'] in ARCHS else None
    size = about['pretrained_cfg'].get('input_size', [channels, side, side])
    if size[1]:
        about['pretrained_cfg']['input_size'] = [channels, *size[1:]]


def of_checkpoint_of_timm(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """What timm's training script writes: the name of the model, and the options of the command line."""
    args = getattr(checkpoint.get('args'), '__dict__', {})
    cfg = {k: showing.listed(args[k]) for k in OF_TIMM if args.get(k)}
    if args.get('img_size') and 'input_size' not in cfg:
        cfg['input_size'] = [args.get('in_chans') or 3, args['img_size'], args['img_size']]
    return dict(
        architecture=checkpoint.get('arch'), model_args=dict(args.get('model_kwargs') or {}), pretrained_cfg=cfg
    )


def of_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The description of what a config trains."""
    architecture, model_args = _variant(settings)
    channels = backbone_of(settings).get('in_channels', 3)
    if channels != 3:
        model_args = model_args | dict(in_chans=channels)
    cfg = showing.pretrained_cfg(settings, channels)
    return dict(architecture=architecture, model_args=model_args, pretrained_cfg=cfg, **showing.of_settings(settings))


def plain_settings(text: str) -> dict[str, Any]:
    """Model, preprocessing and data in the text of a config, where they are plain data; nothing of it is run."""
    try:
        lines = ast.parse(text).body
        values = {ast.unparse(line.targets[0]): line.value for line in lines if isinstance(line, ast.Assign)}
        return {name: _plain(values[name]) for name in SETTINGS if name in values}
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # what Python's parser says of text that is none
        return {}


def _plain(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
        return {k.arg: _plain(k.value) for k in node.keywords}
    if isinstance(node, ast.List | ast.Tuple):
        return [_plain(entry) for entry in node.elts]
    if isinstance(node, ast.Dict) and all(isinstance(key, ast.Constant) for key in node.keys):
        return {key.value: _plain(value) for key, value in zip(node.keys, node.values, strict=True)}
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):  # a call, of which no more than its text is kept
        return _Text(ast.unparse(node))


class _Text(str):
    """A value that is no plain data, as it is written."""

    __repr__ = str.__str__


def backbone_of(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """The backbone's part of a config, inside whatever wraps the model."""
    return showing.part(showing.inner(settings), 'backbone')


def _variant(settings: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """Name and changed options of an OpenMMLab model's network, as timm's entrypoints take them."""
    found = network(settings)
    if not found:
        return None, {}
    named, arch = _arch(backbone_of(settings))
    name, changes = nearest(arch, [named] if named in tuple(ARCHS) else ARCHS)
    others = {k: found[k] for k, plain in PLAIN.items() if found[k] != plain}
    neck = showing.part(showing.inner(settings), 'neck')
    if neck.get('mode') == 'flatten' and not arch.flatten:
        others['global_pool'] = 'flatten'
    return name, changes | others


def network(settings: Mapping[str, Any]) -> dict[str, Any]:
    """All that decides what a config's network computes: fields of `ArchCfg` and `PLAIN`; empty for another network."""
    backbone = backbone_of(settings)
    if not str(backbone.get('type')).endswith('ResidualAttentionNet'):
        return {}
    own = dict(norm_layer=backbone.get('norm_cfg'), act_layer=backbone.get('act_cfg'))
    return computed(_arch(backbone)[1], **{k: backbone[k] for k in GEOMETRY if k in backbone}, **own)


def _arch(backbone: Mapping[str, Any]) -> tuple[Any, ArchCfg]:
    """What a backbone names as its `arch`, and the network that this and its options make."""
    named = backbone.get('arch', 'attention56')
    return named, resolve_arch(named, **{k: v for k, v in backbone.items() if k in FIELDS})


def network_of(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The same of a checkpoint; empty where it says nothing, or names what is not known here."""
    meta = checkpoint.get('meta') or {}
    said = meta.get(ABOUT)
    try:
        if said:
            return network_of_timm(said['architecture'], said['model_args'])
        return network(plain_settings(meta['cfg'])) if isinstance(meta.get('cfg'), str) else {}
    except Exception:  # calls where plain data are expected, for one
        return {}


def images_of(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint says of its images and labels, whatever its network is; see `showing.contradictions`."""
    meta = checkpoint.get('meta') or {}
    if meta.get(ABOUT):
        return meta[ABOUT]
    if not isinstance(meta.get('cfg'), str):
        return of_checkpoint_of_timm(checkpoint)
    try:
        return showing.of_settings(plain_settings(meta['cfg']))
    except Exception:  # calls where plain data are expected, for one
        return {}


def classes_of(checkpoint: Mapping[str, Any]) -> tuple[str, ...]:
    """The classes that a checkpoint says its model has, or nothing."""
    meta = checkpoint.get('meta') or {}
    about = (meta.get(ABOUT) or {}).get('pretrained_cfg') or {}
    data = (meta.get('dataset_meta') or {}).get('classes')
    return class_names(data or about.get('label_names') or meta.get('CLASSES'))  # the last one: before mmpretrain


def class_names(value: Any) -> tuple[str, ...]:
    """Names as text; nothing where `value` is no list of them."""
    return tuple(map(str, value)) if isinstance(value, list | tuple) else ()


def network_of_timm(name: str | None, model_args: Mapping[str, Any]) -> dict[str, Any]:
    """The same of arguments of `timm.create_model`."""
    if name not in ARCHS:
        return {}
    args = dict(model_args)
    arch = resolve_arch(args.pop('arch', name), **{k: args[k] for k in FIELDS if k in args and k != 'img_size'})
    return computed(arch, **{k: args[k] for k in PLAIN if k in args})


def computed(arch: ArchCfg, **others: Any) -> dict[str, Any]:
    """What `network` gives, from an `ArchCfg` and what else a network was built with."""
    layers = {name: layer(others.pop(name, None)) or PLAIN[name] for name in ('norm_layer', 'act_layer')}
    others = {k: tuple(v) if isinstance(v, list) else v for k, v in others.items()}
    return {f: getattr(arch, f) for f in FIELDS if f not in SHAPED} | PLAIN | others | layers


def layer(value: Any) -> str | None:
    """One name for a normalization or an activation, whether mmcv, timm or PyTorch names it."""
    if not isinstance(value, Mapping):
        return None if value is None else NAMES.get(_name(value), _name(value))
    rest = {k: v for k, v in value.items() if k not in ('type', 'inplace', 'requires_grad')}
    name = NAMES.get(_name(value['type']), _name(value['type']))
    return f'{name}({", ".join(f"{k}={v!r}" for k, v in rest.items())})' if rest else name


def _name(value: Any) -> str:
    return getattr(value, '__name__', str(value)).lower().replace('_', '')


def contradictions(asked: Mapping[str, Any], said: Mapping[str, Any], left_out: Collection[str] = ()) -> str:
    """In what two networks (see `network`) differ, as `learning='naive' in place of 'residual', ...`; or nothing."""
    names = [name for name in said if name in asked and name not in left_out and asked[name] != said[name]]
    return ', '.join(f'{name}={asked[name]!r} in place of {said[name]!r}' for name in names)


def agreed(variant: str, asked: Mapping[str, Any], said: Mapping[str, Any] | None, file: str | Path) -> dict[str, Any]:
    """Arguments of a timm model, with what a file says of its network where nothing else is asked for.

    Args:
        variant: Name of the model.
        asked: Its arguments.
        said: What `of_checkpoint` gives of the file; None says nothing.
        file: Its name, for the error.

    Raises:
        ValueError: The file is of another network.
    """
    if not said or said['architecture'] not in ARCHS:
        return dict(asked)
    theirs = {k: v for k, v in tuples(said['model_args']).items() if k in (*FIELDS, *PLAIN, *OWN)}
    args = (theirs if said['architecture'] == variant else {}) | dict(asked)
    differences = contradictions(
        network_of_timm(variant, args), network_of_timm(said['architecture'], theirs), GEOMETRY
    )
    fit.check(f'weights {str(file)!r} are of another network', differences)
    return args


def overlaid(fields: Mapping[str, Any], said: Mapping[str, Any] | None, file: str | Path) -> dict[str, Any]:
    """Fields of timm's pretrained configuration, with those that a file says where nothing else is asked for.

    Args:
        fields: What is asked for. Another size, crop or interpolation is allowed.
        said: What `of_checkpoint` gives of the file; None says nothing.
        file: Its name, for the error.

    Raises:
        ValueError: The file's images or classes are others.
    """
    theirs = own_cfg(said or {})
    both = [name for name in MEANING if fields.get(name) is not None and name in theirs]
    differences = [
        f'{name}={fields[name]!r} in place of {theirs[name]!r}'
        for name in both
        if not showing.same(fields[name], theirs[name], showing.CLOSE / showing.BYTE)
    ]
    fit.check(f'weights {str(file)!r} are of other images or classes', ', '.join(differences))
    return dict(label_names=None) | theirs | dict(fields)  # not those of the weights that ship


def own_cfg(said: Mapping[str, Any]) -> dict[str, Any]:
    """What a description says in fields of timm's pretrained configuration; where weights are is not for it to say."""
    return {k: v for k, v in tuples(said.get('pretrained_cfg') or {}).items() if k in (*OF_TIMM, *MEANING)}


def tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The same with tuples in place of lists, which JSON made of them."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}


def describe(settings: Mapping[str, Any]) -> str:
    """Type and options of a config's backbone."""
    backbone = backbone_of(settings)
    options = ', '.join(f'{k}={v!r}' for k, v in backbone.items() if k not in ('type', 'init_cfg'))
    return f'{backbone.get("type", "unknown")}({options})'


def architecture(checkpoint: Mapping[str, Any]) -> str:
    """Architecture that a checkpoint's own config names, or else what its weights tell."""
    text = (checkpoint.get('meta') or {}).get('cfg')
    settings = plain_settings(text) if isinstance(text, str) else {}
    if backbone_of(settings):
        return describe(settings)
    weights = {key: value for key, value in checkpoint['state_dict'].items() if isinstance(value, Tensor)}
    count = sum(v.numel() for v in weights.values())
    modules = fit.attention_modules(weights)
    of = f'with {modules} attention modules in its stages' if modules else 'of unknown architecture'
    return f'{of}: {count:,} values, the first of them {next(iter(weights), None)!r}'


def unknown_to_timm(description: Mapping[str, Any]) -> str:
    """The normalization or activation that timm has no name for, as `norm_layer='gn(num_groups=4)'`; or nothing."""
    from timm.layers import get_act_layer, get_norm_layer

    for option, find in dict(norm_layer=get_norm_layer, act_layer=get_act_layer).items():
        name = description['model_args'].get(option)
        try:
            known = name is None or find(name) is not None
        except (AssertionError, KeyError):
            known = False
        if not known:
            return f'{option}={name!r}'
    return ''


def build(description: Mapping[str, Any], state: Mapping[str, Tensor]) -> nn.Module:
    """The timm model with its weights, in evaluation mode, and with the description as its `description`.

    Raises:
        ValueError: The model is unknown, or the weights are another's.
    """
    import timm

    if description['architecture'] not in ARCHS:
        raise ValueError(
            f'model {description["architecture"]!r} of the checkpoint is not known: name one of {", ".join(ARCHS)}'
        )
    cfg, allowed = own_cfg(description), (*FIELDS, *PLAIN, *OWN, *OF_TRAINING)
    if others := [name for name in description['model_args'] if name not in allowed]:  # timm's may name files to load
        raise ValueError(
            f'option {others[0]!r} of the checkpoint is not allowed: it must be one of {", ".join(allowed)}'
        )
    model = timm.create_model(
        description['architecture'],
        num_classes=cfg.get('num_classes', 0),
        pretrained_cfg_overlay=dict(label_names=None) | cfg,  # not those of the weights that ship
        **description['model_args'],
    )
    model.load_state_dict(fit.fitting(state, model))
    model.description = description
    return model.eval()
