"""Images with what attention modules make of them, small enough for a page."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...mm.data.identity import common_folder
from .evidence import Evidence

MAPS = ('mask', 'trunk', 'product')
REDUCTIONS = {'mean': 'mean of channels', 'max': 'maximum of channels', 'active': 'most active channel',
              'pca': 'first principal component'}  # fmt: skip
CHANNELS = 12  # of each module, those whose masks vary most from place to place
SAMPLED = 8  # images by which they are chosen
LONGEST = 320  # pixels of a picture's longer side
PHOTO = 64  # pixels of a side from which pictures are JPEG
TOP = 5  # classes told of each image


def build(evidence: Evidence, chosen: Sequence[int], budget: int) -> dict[str, Any]:
    """As many of the images as fit into so many bytes: `modules`, and `images` with their answers and maps.

    A model without attention modules has no modules, and its images no maps.
    """
    channels = varied(evidence, chosen[:SAMPLED])
    found, modules = [], {}
    for index in chosen:
        picture, batch = evidence.look(index)
        maps = dict(tiles(evidence, batch, channels)) if channels else {}
        entry = dict(answer(evidence, index), picture=encode(picture), maps={n: m['maps'] for n, m in maps.items()})
        budget -= size(entry)
        if budget < 0 and found:
            break
        found.append(entry)
        for name, module in maps.items():
            modules.setdefault(name, dict(name=name, size=module['size'], tiles=module['tiles']))
    return dict(images=found, modules=list(modules.values()), asked=len(chosen))


def size(entry: Any) -> int:
    """Characters of the texts in it, roughly those of its JSON."""
    if isinstance(entry, dict):
        return sum(size(value) + len(key) for key, value in entry.items())
    return sum(map(size, entry)) if isinstance(entry, list) else len(str(entry))


def varied(evidence: Evidence, chosen: Sequence[int]) -> dict[str, list[int]]:
    """The channels of each module whose masks vary most over these images' places; nothing without modules."""
    from ...attention import attention_maps, merges

    try:
        merges(evidence.model)
    except ValueError:
        return {}
    spread: dict[str, Tensor] = {}
    for index in chosen:
        for name, maps in attention_maps(evidence.model, evidence.look(index)[1]).items():
            spread[name] = spread.get(name, 0) + maps.mask[0].flatten(1).std(1, correction=0)
    return {name: sorted(found.argsort(descending=True)[:CHANNELS].tolist()) for name, found in spread.items()}


def tiles(evidence: Evidence, batch: Tensor, channels: dict[str, list[int]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Of each module the maps of one image: reductions first, then channels, one below the other."""
    from ...attention import attention_maps

    whole = attention_maps(evidence.model, batch)
    reduced = [attention_maps(evidence.model, batch, reduce=name) for name in REDUCTIONS]
    for name, kept in channels.items():
        names = [*REDUCTIONS.values(), *(f'channel {channel}' for channel in kept)]
        maps = {}
        for kind in MAPS:
            of_channels = getattr(whole[name], kind)[0, kept]
            maps[kind] = strip(torch.cat([*(getattr(found[name], kind)[0] for found in reduced), of_channels]))
        channels_in_all, *sides = whole[name].mask.shape[1:]
        yield name, dict(maps=maps, size=[*sides, channels_in_all], tiles=names)


def strip(maps: Tensor) -> dict[str, Any]:
    """(T, H, W) as one grey PNG, each map stretched from its lowest to its highest value, which `ranges` tells."""
    maps = maps.double().cpu()
    low, high = maps.amin((1, 2)), maps.amax((1, 2))
    scaled = (maps - low[:, None, None]) / (high - low).clamp(min=1e-12)[:, None, None]
    image = Image.fromarray((255 * scaled).round().byte().flatten(0, 1).numpy())
    return dict(png=uri(image, 'PNG'), ranges=[[short(a), short(b)] for a, b in zip(low, high, strict=True)])


def encode(picture: Tensor) -> str:
    """(3, H, W) in 0..1 as a data URI."""
    image = Image.fromarray((255 * picture).round().byte().permute(1, 2, 0).numpy())
    image.thumbnail((LONGEST, LONGEST))
    return uri(image, 'JPEG' if max(image.size) > PHOTO else 'PNG')


def uri(image: Image.Image, form: str) -> str:
    buffer = io.BytesIO()
    image.save(buffer, form, **(dict(quality=88) if form == 'JPEG' else dict(optimize=True)))
    return f'data:image/{form.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}'


def short(value: Tensor) -> float:
    return float(f'{value.item():.4g}')


def answer(evidence: Evidence, index: int) -> dict[str, Any]:
    """What an image shows, and what it is taken for."""
    found, names = evidence.found, evidence.found.names()
    scores, label = found.scores[index], int(found.labels[index])
    values, places = scores.topk(min(TOP, len(scores)))
    top = [[names[place], short(value)] for value, place in zip(values, places.tolist(), strict=True)]
    paths = found.images if len(found.images) == len(found.labels) else ()
    path = os.path.relpath(paths[index], common_folder([*map(os.path.dirname, paths)])) if paths else f'image {index}'
    right = int(scores.argmax()) == label
    return dict(index=index, file=path, shows=names[label], of_shown=short(scores[label]), top=top, right=right)


def colours(name: str = 'viridis') -> str:
    """The 256 colours of a perceptually uniform map, as bytes of red, green and blue in base64."""
    from matplotlib import colormaps

    levels = (255 * colormaps[name](np.arange(256))[:, :3]).round().astype(np.uint8)
    return base64.b64encode(levels.tobytes()).decode()
