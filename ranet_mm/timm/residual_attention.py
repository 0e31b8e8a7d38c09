"""The network as timm models: `timm.create_model('attention56')` after `import ranet_mm`.

timm lists the models under this module's name: `timm.list_models(module='residual_attention')`.
Annotations are not postponed here: TorchScript cannot read postponed ones in a network that torch.fx has traced.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers import SelectAdaptivePool2d, create_act_layer, get_act_layer, get_norm_layer
from timm.models import (
    build_model_with_cfg,
    generate_default_cfgs,
    register_model,
    register_notrace_module,
    resolve_pretrained_cfg,
)
from timm.models._features import feature_take_indices
from torch import Tensor, nn

from .. import weights
from ..arch import ARCHS, ArchCfg
from ..layers import UNITS
from ..network import RANetFeatures, init_weights
from ..weights import showing
from ..weights.description import agreed, of_checkpoint, overlaid
from ..weights.fit import fitting
from ..weights.keys import unwrapped
from ..weights.read import read, weights_of

__all__ = ['RANet']

CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
POOLS = ('avg', 'max', 'avgmax', 'catavgmax', 'fast', 'fastavg', 'fastmax', 'fastavgmax', 'fastcatavgmax')
SCRIPTABLE = dict(avgmax='fastavgmax', catavgmax='fastcatavgmax')  # same values; TorchScript cannot read timm's others

for _unit in UNITS.values():  # naming a graph's nodes takes torchvision quadratic time: minutes if it saw into units
    register_notrace_module(_unit)


class Flatten(nn.Module):
    """(N, C, H, W) -> (N, C * H * W), in the place of a pooling; `side` is the only H and W allowed."""

    pool_type = 'flatten'

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def feat_mult(self) -> int:
        return self.side * self.side

    def forward(self, x: Tensor) -> Tensor:
        if not torch.jit.is_scripting() and not torch.jit.is_tracing():
            self._check_side(x)
        return x.flatten(1)

    @torch.jit.unused
    def _check_side(self, x: Tensor) -> None:
        if not isinstance(x, torch.fx.Proxy) and (x.shape[-2] != self.side or x.shape[-1] != self.side):
            raise ValueError(
                f'map of {x.shape[-2]}x{x.shape[-1]} is not allowed where it is flattened: it must be '
                f"{self.side}x{self.side}, as for an input of the native size; global_pool='avg' takes any size"
            )


class Head(nn.Module):
    """Pooling, dropout and linear classifier: (N, in_features, H, W) -> (N, num_classes).

    Without classes the pooled features are returned. Without pooling the classifier reads every position of
    the map: (N, num_classes, H, W).

    Args:
        in_features: Channels of the map.
        num_classes: Number of classes; 0 leaves the classifier out.
        pool_type: One of timm's poolings, `flatten`, or '' for none.
        drop_rate: Probability of dropping a feature in training.
        side: Height and width of the map where it is flattened.

    Raises:
        ValueError: `pool_type` or `num_classes` is not allowed.
    """

    def __init__(self, in_features: int, num_classes: int, pool_type: str, drop_rate: float, side: int) -> None:
        super().__init__()
        if pool_type not in (*POOLS, 'flatten', ''):
            raise ValueError(
                f'global_pool={pool_type!r} is not allowed: it must be one of {", ".join(POOLS)}, flatten, or empty'
            )
        if num_classes < 0:
            raise ValueError(f'num_classes={num_classes!r} is not allowed: it must be 0 or more')
        self.global_pool = Flatten(side) if pool_type == 'flatten' else _pooling(pool_type)
        self.pooled = bool(pool_type)
        self.num_features = in_features * self.global_pool.feat_mult()
        self.drop = nn.Dropout(drop_rate)
        self.fc = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()
        init_weights(self)

    def forward(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        x = self.drop(self.global_pool(x))
        if pre_logits:
            return x
        return self.fc(x) if self.pooled else self.fc(x.movedim(1, -1)).movedim(-1, 1)


def _pooling(pool_type: str) -> SelectAdaptivePool2d:
    pool = SelectAdaptivePool2d(pool_type=SCRIPTABLE.get(pool_type, pool_type), flatten=bool(pool_type))
    pool.pool_type = pool_type
    return pool


class RANet(RANetFeatures):
    """Residual Attention Network (arXiv:1704.06904) with timm's model methods.

    Args:
        arch: Name of a variant, mapping of `ArchCfg` fields or `ArchCfg`.
        num_classes: Number of classes; 0 leaves the classifier out.
        in_chans: Channels of the input image.
        global_pool: One of timm's poolings, `flatten` (which fixes the input size) or '' for none; the
            variant's own (`avg`, or `flatten` for Table 1 of the report) where left out.
        drop_rate: Probability of dropping a feature before the classifier.
        act_layer: Activation: a name that timm knows, or a class.
        norm_layer: Normalization: a name that timm knows, or a class.
        device: Where parameters are made.
        dtype: Floating point type of the parameters.
        **options: `output_stride`, `drop_path_rate`, `zero_init_last` and `recompute` of `RANetFeatures`, and fields of
            `ArchCfg` to change, for example `p=2, t=1`.

    Raises:
        ValueError: An option, a layer's name or the shape of an input is not allowed.
        TypeError: No class takes such an option.
    """

    def __init__(
        self,
        arch: str | Mapping[str, Any] | ArchCfg = 'attention56',
        *,
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str | None = None,
        drop_rate: float = 0.0,
        act_layer: str | Callable[..., nn.Module] = 'relu',
        norm_layer: str | Callable[..., nn.Module] = 'batchnorm2d',
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ) -> None:
        if isinstance(options.get('img_size'), Sequence):
            options['img_size'] = _square(options['img_size'])
        with nullcontext() if device is None else torch.device(device):
            super().__init__(
                arch,
                in_chans=in_chans,
                norm_layer=_layer('norm_layer', norm_layer, get_norm_layer),
                act_layer=partial(create_act_layer, _layer('act_layer', act_layer, get_act_layer), inplace=True),
                **options,
            )
            self.drop_rate = drop_rate
            self.last_side = self.arch.last_side(self.output_stride)
            own_pool = 'flatten' if self.arch.flatten else 'avg'
            self._build_head(num_classes, own_pool if global_pool is None else global_pool)
        self.to(dtype=dtype)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """(N, num_features, H, W) -> (N, num_classes), or (N, head_hidden_size) before the classifier."""
        return self.head(x, pre_logits)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_chans, H, W) -> (N, num_classes)."""
        return self.forward_head(self.forward_features(x))

    @torch.jit.ignore
    def get_classifier(self, name_only: bool = False) -> nn.Module | str:
        return 'head.fc' if name_only else self.head.fc

    @torch.jit.ignore
    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier by a new one, and the pooling unless `global_pool` is left out."""
        like = next(self.parameters())
        self._build_head(num_classes, self.head.global_pool.pool_type if global_pool is None else global_pool)
        self.head.to(like).train(self.training)

    def _build_head(self, num_classes: int, pool_type: str) -> None:
        self.head = Head(self.num_features, num_classes, pool_type, self.drop_rate, self.last_side)
        self.num_classes, self.head_hidden_size = num_classes, self.head.num_features

    @torch.jit.ignore
    def init_weights(self, zero_init_last: bool = False) -> None:
        """Start anew: every parameter and running statistic as in a new network."""
        for module in self.modules():
            if hasattr(module, 'reset_parameters'):
                module.reset_parameters()
        init_weights(self, zero_init_last)

    @torch.jit.ignore
    def set_grad_checkpointing(self, enable: bool = True) -> None:
        self.grad_checkpointing = enable

    @torch.jit.ignore
    def no_weight_decay(self) -> set[str]:
        return set()

    @torch.jit.ignore
    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Layers from input to output for layer-wise settings: stages where `coarse`, else their blocks."""
        block = r'^stages\.(\d+)' if coarse else r'^stages\.(\d+)\.(\d+)'
        return dict(stem=r'^stem', blocks=[(block, None), (r'^norm', (99999,))])

    @torch.jit.ignore
    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = 'NCHW',
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """The output of `forward_features` and the maps that `feature_info` describes.

        Args:
            x: Images, (N, in_chans, H, W).
            indices: Which maps: the last so many, those of a sequence (negative ones count from the end), all.
            norm: Return the last stage's map normalized and activated; others have no such layers.
            stop_early: Leave out the stages behind the last map asked for.
            output_fmt: NCHW.
            intermediates_only: Return the maps alone.

        Raises:
            ValueError: `output_fmt` is not NCHW.
        """
        if output_fmt != 'NCHW':
            raise ValueError(f'output_fmt={output_fmt!r} is not allowed: it must be NCHW')
        taken, last = feature_take_indices(len(self.feature_info), indices)
        x, maps = self.forward_maps(x, taken, last if stop_early else len(self.stages))
        if stop_early:
            x = maps[-1]
        if last == len(self.feature_info) - 1 or not stop_early:
            x = self.act(self.norm(x))
        if norm and last == len(self.feature_info) - 1:
            maps[-1] = x
        return maps if intermediates_only else (x, maps)

    @torch.jit.ignore
    def prune_intermediate_layers(
        self, indices: int | Sequence[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Remove what the maps of `forward_intermediates` at `indices` do not need.

        Returns:
            The maps kept, counted from the first.
        """
        taken, last = feature_take_indices(len(self.feature_info), indices)
        shortened = last < len(self.feature_info) - 1
        if shortened:
            self.stages = self.stages[:last]
            self.num_features = self.feature_info[last]['num_chs']
        if last == 0 and hasattr(self.stem, 'pool'):
            del self.stem.pool
        if prune_norm or shortened:
            self.norm, self.act = nn.Identity(), nn.Identity()
        if prune_head or shortened:
            self.reset_classifier(0, '')
        return taken


def _layer(option: str, value: Any, find: Callable[[Any], Any]) -> Any:
    """What timm makes of a layer's name."""
    try:
        found = find(value)
    except (AssertionError, KeyError):
        found = None
    if found is None:
        raise ValueError(f'{option}={value!r} is not allowed: it must be a class or a name that timm knows')
    return found


def _square(size: Sequence[int]) -> int:
    if len(set(size)) != 1:
        raise ValueError(f'img_size={tuple(size)!r} is not allowed: height and width must be equal')
    return size[0]


# Entrypoints --------------------------------------------------------------------------------------------


def _cfg(arch: ArchCfg, **fields: Any) -> dict[str, Any]:
    """timm's pretrained configuration of a variant; `fields` are those that its weights change."""
    small = arch.img_size == 32  # CIFAR
    side = arch.last_side()
    return (
        dict(
            num_classes=10 if small else 1000,
            input_size=(3, arch.img_size, arch.img_size),
            fixed_input_size=arch.flatten,
            pool_size=(side, side),
            crop_pct=1.0 if small else 0.875,
            interpolation='bicubic',
            mean=CIFAR_MEAN if small else IMAGENET_DEFAULT_MEAN,
            std=CIFAR_STD if small else IMAGENET_DEFAULT_STD,
            first_conv='stem.conv',
            classifier='head.fc',
            license='apache-2.0',
            paper_ids='arXiv:1704.06904',
        )
        | fields
    )


def _default_cfgs(index: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """One configuration for each variant without weights, and one for each row of the index."""
    trained = {name.partition('.')[0] for name in index}
    bare = {name: _cfg(arch) for name, arch in ARCHS.items() if name not in trained}
    tagged = {
        name: _cfg(ARCHS[name.partition('.')[0]], **{k: v for k, v in row.items() if k not in weights.OWN_FIELDS})
        for name, row in index.items()
    }
    return generate_default_cfgs(bare | tagged)


_index = weights.index()
default_cfgs = _default_cfgs(_index)


def _create(
    variant: str, pretrained: bool, pretrained_cfg_overlay: Mapping[str, Any] | None = None, **kwargs: Any
) -> RANet:
    overlay = _overlay(pretrained_cfg_overlay or {})
    cfg = resolve_pretrained_cfg(variant, kwargs.get('pretrained_cfg'), overlay)
    kwargs = _index.get(f'{variant}.{cfg.tag}', {}).get('model_args', {}) | kwargs
    said: dict[str, Any] = {}
    if pretrained:
        _check_weights(cfg)
        if cfg.file and Path(cfg.file).is_file() and cfg.file not in [row['file'] for row in _index.values()]:
            (said, in_rgb), given = _said(cfg.file), kwargs.get('pretrained_cfg')
            kwargs = agreed(variant, kwargs, said, cfg.file)
            overlay = overlaid((given if isinstance(given, Mapping) else {}) | overlay, in_rgb, cfg.file)
    if kwargs.get('num_classes') not in (None, overlay.get('num_classes', cfg.num_classes)):
        overlay = overlay | dict(label_names=None)  # of a new classifier
    arch = ARCHS[variant]
    levels = 1 + len(arch.modules) + bool(arch.post_units)
    return build_model_with_cfg(
        RANet,
        variant,
        pretrained,
        arch=variant,
        pretrained_cfg_overlay=overlay,
        pretrained_filter_fn=partial(_fitting, said),
        feature_cfg=dict(flatten_sequential=True, out_indices=tuple(range(levels))),
        **kwargs,
    )


def _said(file: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The description of a file, and that for RGB images, as timm shows them; empty where it is of bare weights."""
    found = read(file)
    state, _ = weights_of(found)
    about = of_checkpoint(found, state)
    return (about, showing.in_rgb(about, state)[0]) if about['architecture'] else ({}, {})


def _overlay(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields that change a configuration; one with another source loses the shipped file, which timm would prefer."""
    return (dict(file=None) if fields.get('url') or fields.get('hf_hub_id') else {}) | dict(fields)


def _check_weights(cfg: Any) -> None:
    """Make sure that there are weights, and that shipped ones are those that were published."""
    if not cfg.has_weights and not cfg.state_dict:
        raise RuntimeError(
            f'{cfg.architecture} has no pretrained weights; names that have some: {", ".join(_index) or "none"}. '
            'Give your own by pretrained_cfg_overlay=dict(file=PATH)'
        )
    for row in _index.values():
        if cfg.file == row['file']:
            weights.verify(row['file'], row['sha256'])
    if cfg.file and not Path(cfg.file).exists():
        raise FileNotFoundError(f'weights {str(cfg.file)!r} do not exist')


def _fitting(said: dict[str, Any], state: Mapping[str, Tensor], model: RANet) -> dict[str, Tensor]:
    """Weights under the keys and in the types of the model, before timm adapts first convolution and classifier.

    For RGB images, where their description says that they are for BGR ones.
    """
    state = showing.in_rgb(said, unwrapped(state))[1]
    ours, fc = model.state_dict(), 'head.fc.weight'
    state = fitting(state, model, adapted=('stem.conv.weight', fc, 'head.fc.bias'))
    if fc in state and fc in ours and state[fc].shape[0] == len(ours[fc]) and state[fc].shape != ours[fc].shape:
        raise ValueError(
            f'weights of a classifier of {state[fc].shape[1]} features do not fit one of {ours[fc].shape[1]}: '
            'give another global_pool, or another num_classes to start a new classifier'
        )
    return {key: value.to(ours[key].dtype) if key in ours else value for key, value in state.items()}


def _entrypoint(name: str, arch: ArchCfg) -> Callable[..., RANet]:
    def create(pretrained: bool = False, **kwargs: Any) -> RANet:
        return _create(name, pretrained, **kwargs)

    create.__name__ = create.__qualname__ = name
    create.__doc__ = (
        f'{name}: trunk of {arch.depth} layers, (p, t, r) = {arch.p, arch.t, arch.r}, for {arch.img_size} px images.'
    )
    return register_model(create)


for _name, _arch in ARCHS.items():
    globals()[_name] = _entrypoint(_name, _arch)
