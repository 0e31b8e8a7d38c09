"""Files as a network is shown them: by the test pipeline that its checkpoint describes, or else by timm's transform."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..weights import showing

Open = Callable[[str], Any]  # a path -> an RGB image of PIL
Read = Callable[[str], Tensor]  # a path -> (C, H, W)
TOLERANCE = 0.05  # beyond white and black, which resizing may reach


def reader(model: nn.Module, open_image: Open) -> Read:
    """What reads a file as testing does, up to the preprocessor; for a model without a description, as timm does.

    Args:
        model: Of `description.build`, or any of timm.
        open_image: Opens a file, or raises `ValueError` with its name.

    Returns:
        A function that raises `ValueError` with the name of a file that cannot be shown to the network.

    Raises:
        ValueError: The pipeline names what is not registered.
        ModuleNotFoundError: It needs mmpretrain, which is not installed.
    """
    said = getattr(model, 'description', {})
    read = (
        of_timm(model, open_image) if said.get('pipeline') is None else of_pipeline(model, said['pipeline'], open_image)
    )

    def checked(path: str) -> Tensor:
        try:
            image = read(path)
        except Exception as error:
            if isinstance(error, ValueError) and repr(path) in str(error):
                raise
            raise ValueError(
                f'image {path!r} cannot be shown to the network: {error or type(error).__name__}'
            ) from error
        chans = getattr(model, 'in_chans', len(image))
        if image.dim() != 3 or len(image) != chans:
            raise ValueError(
                f'image {path!r} cannot be shown to the network: it becomes an array of {tuple(image.shape)}, and the '
                f'network takes {chans} channels'
            )
        return image

    return checked


def of_timm(model: nn.Module, open_image: Open) -> Read:
    """timm's transform; as timm does, it makes images grey for one channel, and takes the mean of a longer `mean`."""
    from timm.data import create_transform, resolve_model_data_config

    cfg = resolve_model_data_config(model)
    chans = getattr(model, 'in_chans', cfg['input_size'][0])
    if chans not in (1, 3):
        raise ValueError(f'a network of {chans} channels cannot be shown images, which have 1 or 3')
    for name in ('mean', 'std'):
        if len(cfg[name]) not in (1, chans):
            cfg[name] = (sum(cfg[name]) / len(cfg[name]),)
    transform = create_transform(**cfg)
    return lambda path: transform(open_image(path).convert('L' if chans == 1 else 'RGB'))


def of_pipeline(model: nn.Module, pipeline: showing.Pipeline, open_image: Open) -> Read:
    """An OpenMMLab pipeline; one that only loads and packs needs no library for it."""
    first, rest = pipeline[0] if pipeline else {}, list(pipeline)
    mode, dtype, flipped = 'L' if model.in_chans == 1 else 'RGB', np.uint8, False  # of a data set in memory
    if ours(first):
        mode, dtype = 'RGB', np.float32 if first.get('to_float32') else np.uint8
        rest = rest[1:]
    elif showing.short(first.get('type')) in showing.LOADERS:
        flipped = find_spec('mmpretrain') is None and first.get('color_type', 'color') == 'color'
        mode = 'RGB'
        rest = rest[1:] if flipped else rest
    loads = any(showing.short(t.get('type')) in showing.LOADERS for t in rest)
    run = None if all(map(packs, rest)) else build(rest)

    def read(path: str) -> Tensor:
        image = open_image(path)  # for its errors too, where the pipeline opens the file again
        array = np.array(image.convert(mode), dtype)[:, :, ::-1] if flipped else np.array(image.convert(mode), dtype)
        if run is None:
            return torch.from_numpy(np.ascontiguousarray(np.atleast_3d(array).transpose(2, 0, 1)))
        size = dict(img_shape=array.shape[:2], ori_shape=array.shape[:2])
        packed = run(dict(img_path=path) if loads else dict(img=array, img_path=path, **size))
        if not isinstance(packed, dict) or not isinstance(packed.get('inputs'), Tensor):
            raise ValueError('the pipeline makes no single image of it')
        return packed['inputs']

    return read


def ours(transform: dict[str, Any]) -> bool:
    """Whether it is this package's loader, with no options but the one that is done here."""
    return showing.short(transform.get('type')) == 'LoadImage' and not transform.keys() - {'type', 'to_float32'}


def packs(transform: dict[str, Any]) -> bool:
    """Whether all that it does is to make a tensor of the image."""
    return showing.short(transform.get('type')) in showing.PACKERS and transform.get('input_key', 'img') == 'img'


def build(pipeline: showing.Pipeline) -> Callable[[dict], dict | None]:
    if find_spec('mmpretrain') is None:
        raise ModuleNotFoundError(
            f"the checkpoint's pipeline ({showing.told(pipeline)}) needs mmpretrain, which is not installed"
        )
    from ..mm.data import foreign

    return foreign.build(pipeline)


def preprocess(images: Tensor, said: dict[str, Any]) -> Tensor:
    """What OpenMMLab's preprocessor makes of a batch (N, C, H, W); the same batch where nothing is said of one.

    Raises:
        ValueError: The preprocessor is not known.
    """
    if said.get('pipeline') is None:
        return images
    given = said.get('data_preprocessor') or {}
    if showing.short(given.get('type') or showing.PREPROCESSORS[0]) not in showing.PREPROCESSORS:
        raise ValueError(
            f'data_preprocessor of type {given["type"]!r} is not allowed: known are {", ".join(showing.PREPROCESSORS)}'
        )
    images = (images.flip(1) if given.get('to_rgb') and images.shape[1] == 3 else images).float()
    if given.get('mean'):
        mean, std = (torch.tensor(given[name], device=images.device).view(-1, 1, 1) for name in ('mean', 'std'))
        images = (images - mean) / std
    divisor = given.get('pad_size_divisor', 1)
    height, width = (-side % divisor for side in images.shape[-2:])
    return F.pad(images, (0, width, 0, height), value=given.get('pad_value', 0))


def undone(images: Tensor, model: nn.Module) -> Tensor:
    """A batch as the network gets it, as pictures: (N, C, H, W) -> (N, 3, H, W), RGB in [0, 1].

    What normalization cannot be told is stretched to that range.
    """
    said = getattr(model, 'description', {})
    if said.get('pipeline') is None:
        scale, order = {k: model.pretrained_cfg.get(k) for k in ('mean', 'std')}, showing.RGB
    else:
        found = showing.normalization(said)
        scale = {k: [value / showing.BYTE for value in found[k]] if found[k] else None for k in found}
        scale, order = scale if found['mean'] else dict(mean=[0], std=[1 / showing.BYTE]), showing.order(said)
    images = images.detach().float().cpu()
    if scale['mean']:
        mean, std = (torch.tensor(scale[name]) for name in ('mean', 'std'))
        mean, std = (v if len(v) in (1, images.shape[1]) else v.mean(0, keepdim=True) for v in (mean, std))
        images = images * std.view(-1, 1, 1) + mean.view(-1, 1, 1)
    if images.shape[1] != 3:
        images = images[:, :1].expand(-1, 3, -1, -1)
    images = images.flip(1) if order == showing.BGR else images
    low, high = images.aminmax()
    if low < -TOLERANCE or high > 1 + TOLERANCE:
        images = (images - low) / (high - low).clamp(min=1e-9)
    return images.clamp(0, 1)
