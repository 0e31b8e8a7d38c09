"""How images are read and shown to a network: what a config says of it, in OpenMMLab's terms and in timm's."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import floor, isclose, nextafter
from typing import Any

from torch import Tensor

from . import keys

BYTE = 255
RGB, BGR = 'RGB', 'BGR'
LOADERS = {'LoadImage': RGB, 'LoadImageFromFile': BGR}  # in which order each gives the channels; data in memory are RGB
PACKERS = 'PackInputs', 'PackDetInputs', 'PackSegInputs', 'LoadAnnotations'
FLIPS = dict(NumpyToPIL='to_rgb', ToPIL='to_rgb', PILToNumpy='to_bgr', ToNumpy='to_bgr', Normalize='to_rgb')
TURNS = 'to_rgb', 'bgr_to_rgb', 'rgb_to_bgr'  # options of a preprocessor that turn the channels around
PREPROCESSORS = 'ClsDataPreprocessor', 'DevicePreprocessor', 'ImgDataPreprocessor'
SIZED = dict(  # the option of a transform that tells the size it leaves
    RandomCrop='crop_size', RandomResizedCrop='scale', EfficientNetRandomCrop='scale', Resize='scale',
    CenterCrop='crop_size', EfficientNetCenterCrop='crop_size', MAERandomResizedCrop='size',
)  # fmt: skip
RESIZES = 'Resize', 'ResizeEdge', 'EfficientNetCenterCrop'
CLOSE = 0.05  # of 255: by so much a mean may differ that is written with fewer digits

Pipeline = Sequence[Mapping[str, Any]]


def of_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a config says, as plain data; empty where it has no model.

    Returns:
        `pipeline`: that of testing, or None; `data_preprocessor`: `type`, `mean`, `std`, `to_rgb` and padding;
        `exclusive`: whether an image has one label, whose probabilities a softmax gives, or any number of them.
    """
    model = inner(settings)
    if not model:
        return {}
    given = part(model, 'data_preprocessor') or part(settings, 'data_preprocessor')
    kept = {k: listed(given[k]) for k in ('type', 'mean', 'std', 'pad_size_divisor', 'pad_value') if given.get(k)}
    return dict(
        pipeline=listed(test_pipeline(settings)),
        data_preprocessor=kept | dict(to_rgb=any(given.get(name) for name in TURNS)),
        exclusive=exclusive(short(part(model, 'head').get('type'))),
    )


def exclusive(head: str) -> bool:
    """Whether a head of mmpretrain gives an image one label."""
    return not head.startswith(('MultiLabel', 'CSRA'))


def inner(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """The model's part of a config, inside whatever wraps it."""
    model = part(settings, 'model')
    while 'module' in model:
        model = part(model, 'module')
    return model


def part(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A part of a config, empty where there is none of plain data."""
    return settings[name] if isinstance(settings.get(name), Mapping) else {}


def test_pipeline(settings: Mapping[str, Any]) -> Pipeline | None:
    found = [pipeline_of(settings.get(name)) for name in ('test_dataloader', 'val_dataloader')]
    return next((p for p in (*found, settings.get('test_pipeline')) if p and plain(p)), None)


def pipeline_of(loader: Any) -> Pipeline | None:
    """The pipeline of a data loader, inside whatever wraps its data set; None where there is none of plain data."""
    data = loader.get('dataset') if isinstance(loader, Mapping) else None
    while isinstance(data, Mapping) and not data.get('pipeline'):
        data = data.get('dataset') or (data.get('datasets') or [None])[0]
    return data['pipeline'] if isinstance(data, Mapping) and plain(data['pipeline']) else None


def plain(pipeline: Any) -> bool:
    return isinstance(pipeline, list | tuple) and all(isinstance(t, Mapping) and 'type' in t for t in pipeline)


def listed(value: Any) -> Any:
    """The same as JSON has it."""
    if isinstance(value, Mapping):
        return {str(k): listed(v) for k, v in value.items()}
    return [listed(entry) for entry in value] if isinstance(value, list | tuple) else value


def short(name: Any) -> str:
    """The name of a class without scope or module."""
    return getattr(name, '__name__', str(name)).rpartition('.')[2]


def loads_or_packs(transform: Mapping[str, Any]) -> bool:
    return short(transform.get('type')) in (*LOADERS, *PACKERS)


def steps(pipeline: Pipeline | None) -> list[Mapping[str, Any]]:
    """What a pipeline does to an image between reading and packing it."""
    return [transform for transform in pipeline or () if not loads_or_packs(transform)]


def order(said: Mapping[str, Any]) -> str:
    """In which order the network gets the channels of an image."""
    if 'order' in said:
        return said['order']
    found = RGB
    for transform in said.get('pipeline') or ():
        name = short(transform.get('type'))
        flipped = name in FLIPS and transform.get(FLIPS[name], name == 'Normalize')
        found = LOADERS.get(name, _other(found) if flipped else found)
    return _other(found) if (said.get('data_preprocessor') or {}).get('to_rgb') else found


def _other(order: str) -> str:
    return BGR if order == RGB else RGB


def normalization(said: Mapping[str, Any]) -> dict[str, list[float] | None]:
    """`mean` and `std` on a scale where 255 is white, of the preprocessor or else of a transform; or None each."""
    given = said.get('data_preprocessor') or {}
    if not given.get('mean'):
        given = next((t for t in said.get('pipeline') or () if short(t.get('type')) == 'Normalize'), {})
    return {name: given.get(name) for name in ('mean', 'std')}


# Compared -----------------------------------------------------------------------------------------------


def contradictions(asked: Mapping[str, Any], said: Mapping[str, Any], left_out: Collection[str] = ()) -> str:
    """In what the meaning of images and labels differs, as `data_preprocessor.mean=... in place of ...`; or nothing.

    Args:
        asked: A description: see `description.of_settings`.
        said: Another one; what it does not say is not compared.
        left_out: Of `mean`, `std`, `order` and `exclusive`, what may differ.
    """
    ours, theirs = meaning(asked), meaning(said)
    names = [k for k in theirs if k in ours and k not in left_out and not same(ours[k], theirs[k])]
    return ', '.join(_contradiction(name, asked, said, ours[name], theirs[name]) for name in names)


def meaning(said: Mapping[str, Any]) -> dict[str, Any]:
    """What decides what pixels and answers mean, as far as it is said."""
    found = dict(exclusive=said['exclusive']) if 'exclusive' in said else {}
    if said.get('pipeline') or 'order' in said:
        found['order'] = order(said)
    if 'data_preprocessor' in said:
        return found | normalization(said)
    cfg = said.get('pretrained_cfg') or {}
    return found | {k: [BYTE * v for v in cfg[k]] for k in ('mean', 'std') if cfg.get(k)}


def same(ours: Any, theirs: Any, close: float = CLOSE) -> bool:
    if not isinstance(ours, list | tuple) or not isinstance(theirs, list | tuple) or isinstance(ours[0], str):
        return ours == theirs
    most = max(len(ours), len(theirs))
    ours, theirs = ([*values] * (most if len(values) == 1 else 1) for values in (ours, theirs))
    return len(ours) == len(theirs) and all(isclose(a, b, abs_tol=close) for a, b in zip(ours, theirs, strict=True))


def _contradiction(name: str, asked: Mapping[str, Any], said: Mapping[str, Any], ours: Any, theirs: Any) -> str:
    if name == 'exclusive':
        kinds = {True: 'one label an image', False: 'several labels an image'}
        return f'model.head for {kinds[ours]} in place of {kinds[theirs]}'
    if name == 'order':
        turned = [(d.get('data_preprocessor') or {}).get('to_rgb') for d in (asked, said)]
        more = '' if turned[0] == turned[1] else f'data_preprocessor.to_rgb={turned[0]} in place of {turned[1]}: '
        return f'{more}channels in {ours} order in place of {theirs}'
    values = [f'[{", ".join(f"{v:g}" for v in values)}]' if values else None for values in (ours, theirs)]
    return f'data_preprocessor.{name}={values[0]} in place of {values[1]}'


def shown_otherwise(asked: Mapping[str, Any], said: Mapping[str, Any]) -> str:
    """What two test pipelines do to images where they differ, as `Resize(scale=40) in place of nothing`; or nothing."""
    if not asked.get('pipeline') or not said.get('pipeline') or asked['pipeline'] == said['pipeline']:
        return ''
    ours, theirs = told(asked['pipeline']), told(said['pipeline'])
    return '' if ours == theirs or 'TestTimeAug' in ours else f'{ours} in place of {theirs}'


def told(pipeline: Pipeline) -> str:
    """The steps of a pipeline, as `ResizeEdge(scale=256, edge='short'), CenterCrop(crop_size=224)`."""
    loaders = [t for t in pipeline if short(t.get('type')) in LOADERS and t.get('color_type', 'color') != 'color']
    named = [
        f'{short(t["type"])}({", ".join(f"{k}={v!r}" for k, v in t.items() if k != "type")})'
        for t in [*loaders, *steps(pipeline)]
    ]
    return ', '.join(named) or 'nothing'


# In timm's terms ----------------------------------------------------------------------------------------


def pretrained_cfg(settings: Mapping[str, Any], channels: int = 3) -> dict[str, Any]:
    """Size, crop and normalization in fields of timm's pretrained configuration; see `unsaid`."""
    said = of_settings(settings)
    if not said:
        return {}
    mean, std = normalization(said).values()
    found: dict[str, Any] = dict(mean=[0.0], std=[1 / BYTE])  # timm divides by 255 what this network wants whole
    if mean and std:
        found = dict(mean=[v / BYTE for v in mean], std=[v / BYTE for v in std])
    found = {k: v * channels if len(v) == 1 else v for k, v in found.items()}
    if said['pipeline'] is None:
        return found
    size, fields = geometry(said['pipeline'])
    size = size or train_size(settings)
    return found | (dict(input_size=[channels, *size]) if size else {}) | fields


def geometry(pipeline: Pipeline) -> tuple[list[int] | None, dict[str, Any]]:
    """Height and width that a pipeline leaves, and how it comes to them, as timm names it."""
    size, fields = None, dict(crop_pct=1.0, crop_mode='center')
    scale: list[int] | int | None = None
    for transform in steps(pipeline):
        name = str(transform['type']).removeprefix('torchvision/').rpartition('.')[2]
        of_torchvision = str(transform['type']).startswith('torchvision/')
        if name in ('Resize', 'ResizeEdge'):
            scale = transform.get('size' if of_torchvision else 'scale')
            edge = name == 'ResizeEdge' or (of_torchvision and isinstance(scale, int))
            if not edge:
                size = sides(scale if of_torchvision or not isinstance(scale, list) else scale[::-1])
                fields['crop_mode'] = 'squash'
            fields['interpolation'] = interpolation(transform)
        elif name in ('CenterCrop', 'EfficientNetCenterCrop'):
            before, size = size, sides(transform.get('size' if of_torchvision else 'crop_size'))
            if name == 'EfficientNetCenterCrop' and transform.get('efficientnet_style', True):
                scale = size and size[0] + transform.get('crop_padding', 32)
                fields['interpolation'] = interpolation(transform, 'bicubic')
            whole = before[0] if before else scale
            if size and isinstance(whole, int) and whole >= size[0]:
                fields['crop_pct'] = share(size[0], whole)
    return size, fields


def sides(value: Any) -> list[int] | None:
    """Height and width, of one number or two."""
    if isinstance(value, int):
        return [value, value]
    return list(value) if isinstance(value, list | tuple) and len(value) == 2 else None


def share(size: int, scale: int) -> float:
    """What timm divides a crop's size by, rounding down, to get what it resizes images to."""
    found = size / scale
    return found if floor(size / found) == scale else nextafter(found, 0)


def interpolation(transform: Mapping[str, Any], default: str = 'bilinear') -> str:
    name = str(transform.get('interpolation', default)).lower()
    return 'box' if name == 'area' else name


def resizes(pipeline: Pipeline | None) -> bool:
    """Whether a pipeline changes the size of an image; timm's transform does, where there is none."""
    if pipeline is None:
        return True
    return any(word in short(t['type']) for t in steps(pipeline) for word in ('Resize', 'Crop', 'Pad'))


def train_size(settings: Mapping[str, Any]) -> list[int] | None:
    """Height and width of the images in training, where the last crop or resizing says them."""
    found = None
    for transform in pipeline_of(settings.get('train_dataloader')) or ():
        name = short(transform.get('type'))
        if name in SIZED:
            value = sides(transform.get(SIZED[name]))
            found = value[::-1] if value and name == 'Resize' else value
    return found


def unsaid(said: Mapping[str, Any]) -> str:
    """What of a test pipeline timm's transform does not do, or does otherwise, as `Pad, Resize by cv2`; or nothing."""
    found, resized = [], False
    for transform in steps(said.get('pipeline')):
        name = short(str(transform['type']).removeprefix('torchvision/'))
        by_pillow = str(transform['type']).startswith('torchvision/') or transform.get('backend', 'cv2') == 'pillow'
        if name in RESIZES and transform.get('edge', 'short') == 'short' and not transform.get('keep_ratio'):
            resized = True
            found += [] if by_pillow else [f'{name} by cv2']
        elif name not in FLIPS and not (name == 'CenterCrop' and resized):
            found.append(name)
    return ', '.join(found)


def in_rgb(about: dict[str, Any], state: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Description and weights of a network that computes from RGB, as timm has it, what one trained on BGR does."""
    state = keys.plain(state)
    weight = state.get(keys.FIRST_CONV)
    if not about.get('pipeline') or order(about) == RGB or weight is None or weight.shape[1] != 3:
        return about, state
    given, cfg = dict(about['data_preprocessor']), dict(about['pretrained_cfg'])
    given['to_rgb'] = not given['to_rgb']
    for fields in (given, cfg):
        fields.update({k: fields[k][::-1] for k in ('mean', 'std') if fields.get(k)})
    return dict(about, data_preprocessor=given, pretrained_cfg=cfg), {**state, keys.FIRST_CONV: weight.flip(1)}
