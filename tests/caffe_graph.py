"""The authors' networks as facts, and an evaluator that knows nothing but these facts."""

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

NETS = ('attention56', 'attention92', 'attentionnext56', 'attentionnext92')
_FILE = Path(__file__).parent / 'golden' / 'caffe_wiring.json'


class Layer(NamedTuple):
    name: str
    kind: str
    bottoms: tuple  # names of the layers it reads; the image is 'data'
    params: tuple


@cache
def layers(net):
    """The layers of a network in file order; the JSON's first entry explains its rows."""
    found, name = [], ''
    for shared, rest, kind, back, *params in json.loads(_FILE.read_text())[net]:
        name = name[:shared] + rest
        here = len(found)
        bottoms = tuple(found[here - n].name if n <= here else 'data' for n in back)
        found.append(Layer(name, kind, bottoms, tuple(*params)))
    return found


def pooled(side, kernel, stride, pad):
    """Caffe's rule: round up, but start no window beyond the image and its leading border."""
    out = -((kernel - side - 2 * pad) // stride) + 1
    return out - 1 if pad and (out - 1) * stride >= side + pad else out


def shapes(net, size):
    """Channels, height and width of every layer's output."""
    found = {'data': (3, size, size)}
    for layer in layers(net):
        chs, *sides = found[layer.bottoms[0]]
        if layer.kind == 'conv':
            chs, kernel, stride, pad, _ = layer.params
            sides = [(side + 2 * pad - kernel) // stride + 1 for side in sides]
        elif layer.kind == 'max':
            sides = [pooled(side, *layer.params) for side in sides]
        elif layer.kind == 'interp':
            sides = found[layer.bottoms[1]][1:]
        elif layer.kind in ('ave', 'fc', 'softmax'):
            sides = [1, 1]
        found[layer.name] = (*layer.params, *sides) if layer.kind == 'fc' else (chs, *sides)
    return found


def random_blobs(net, width=1.0, seed=0):
    """Weights in float64 that keep the activations of the net in range, so that no mask saturates."""
    rng, found, chs = np.random.default_rng(seed), {}, {'data': 3}
    for layer in layers(net):
        read = made = chs[layer.bottoms[0]]
        if layer.kind == 'conv':
            made, kernel, _, _, groups = layer.params
            made = int(made * width)
            shape = (made, read // groups, kernel, kernel)
            found[layer.name] = [rng.normal(0, np.prod(shape[1:]) ** -0.5, shape)]
        elif layer.kind == 'fc':
            (made,) = layer.params
            found[layer.name] = [rng.normal(0, read**-0.5, (made, read)), rng.normal(0, 1, made)]
        elif layer.kind == 'bn':
            ranges = ((0.5, 1.5), (-0.5, 0.5), (-0.5, 0.5), (0.5, 1.2))
            found[layer.name] = [rng.uniform(*ends, read) for ends in ranges]
        chs[layer.name] = made
    return found


def evaluate(net, blobs, image):
    """Logits of the authors' network, (N, 3, H, W) -> (N, classes); the last pooling takes the whole map."""
    return outputs(net, blobs, image)['classifier']


def outputs(net, blobs, image):
    """What every layer puts out, by its name."""
    out = {'data': image}
    for layer in layers(net):
        values = [torch.from_numpy(blob) for blob in blobs.get(layer.name, ())]
        reads = [out[name] for name in layer.bottoms]
        if layer.kind != 'softmax':
            out[layer.name] = _STEPS[layer.kind](*reads, *values, *layer.params)
    return out


def _conv(x, weight, outputs, kernel, stride, pad, groups):
    return F.conv2d(x, weight, None, stride, pad, 1, groups)


def _bn(x, scale, shift, mean, inverse_deviation):
    column = [value.reshape(-1, 1, 1) for value in (scale, shift, mean, inverse_deviation)]
    return (x - column[2]) * column[3] * column[0] + column[1]


def _max(x, kernel, stride, pad):
    rows, columns = (
        [(i * stride, min(i * stride + kernel, side)) for i in range(pooled(side, kernel, stride, pad))]
        for side in x.shape[-2:]
    )
    windows = [[x[..., top:bottom, left:right].amax((2, 3)) for left, right in columns] for top, bottom in rows]
    return torch.stack([torch.stack(row, -1) for row in windows], -2)


def _interp(x, like):
    for dim in (2, 3):
        x = torch.tensordot(x, _weights(x.shape[dim], like.shape[dim]), ([dim], [1])).movedim(-1, dim)
    return x


def _weights(old, new):
    """(new, old) matrix of linear interpolation between the corners."""
    at = torch.arange(new, dtype=torch.float64) * ((old - 1) / (new - 1) if new > 1 else 0)
    return (1 - (at[:, None] - torch.arange(old)).abs()).clamp(min=0)


_STEPS = {
    'conv': _conv,
    'bn': _bn,
    'relu': lambda x: x.clamp(min=0),
    'max': _max,
    'ave': lambda x, kernel, stride, pad: x.mean((2, 3)),
    'sum': lambda a, b: a + b,
    'prod': lambda a, b: a * b,
    'interp': _interp,
    'sigmoid': lambda x: 1 / (1 + torch.exp(-x)),
    'fc': lambda x, weight, bias, outputs: x @ weight.T + bias,
}
