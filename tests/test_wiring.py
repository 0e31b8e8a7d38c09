"""Our networks against the authors' deploy files: layer by layer, and output against output."""

from collections import Counter

import caffe_graph
import pytest
import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ranet_mm import RANetFeatures, layers
from ranet_mm.weights.convert import from_caffe
from ranet_mm.weights.convert.caffe import CaffeNames

# architecture: parameters, residual units, layers of each kind
COUNTS = {
    'attention56': (31_810_728, 33, dict(bn=107, conv=110, relu=107, eltwise=42, interp=6, pool=8, sigmoid=3)),
    'attention92': (52_466_344, 54, dict(bn=176, conv=179, relu=176, eltwise=70, interp=10, pool=12, sigmoid=6)),
    'attentionnext56': (31_318_824, 33, dict(bn=107, conv=110, relu=103, eltwise=42, interp=6, pool=8, sigmoid=3)),
    'attentionnext92': (52_102_952, 54, dict(bn=173, conv=179, relu=169, eltwise=70, interp=10, pool=12, sigmoid=6)),
}
TAIL = ('ave_pool', 'classifier', 'cls')  # made by the classifier, not by the features


class Wiring(TorchFunctionMode):
    """Finds the authors' layer for every operation of our network as it runs.

    Convolutions and norms are known by their weights, the others by what they read.
    """

    def __init__(self, net, model, image):
        super().__init__()
        self.facts = {layer.name: layer for layer in caffe_graph.layers(net)}
        self.shapes = caffe_graph.shapes(net, image.shape[-1])
        self.modules = {id(module.weight): path for path, module in model.named_modules() if hasattr(module, 'weight')}
        self.names = CaffeNames(model.arch).layers
        self.made = {id(image): 'data'}
        self.kept = []  # ids are unique among living tensors only
        self.done = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        step = getattr(self, f'on_{func.__name__.strip("_")}', None)
        if step is not None:
            step(out, *args, **(kwargs or {}))
        elif isinstance(out, torch.Tensor) and any(id(arg) in self.made for arg in args):
            raise AssertionError(f'{func.__name__} is no layer of the authors')
        return out

    def read(self, x):
        return self.made[id(x)]

    def note(self, out, layer, kind, bottoms, params=()):
        """Compare one operation with the layer of that name."""
        assert layer not in self.done
        assert (layer, kind, bottoms, params) == self.facts[layer]
        self.done.append(layer)
        self.made[id(out)] = layer
        self.kept.append(out)
        assert tuple(out.shape[1:]) == self.shapes[layer], layer

    def find(self, kind, *bottoms):
        """The one layer of a kind that reads `bottoms`, in any order; only the first counts for a resize."""
        reads = (lambda layer: layer.bottoms[:1]) if kind == 'interp' else (lambda layer: layer.bottoms)
        found = [f for f in self.facts.values() if f.kind == kind and sorted(reads(f)) == sorted(bottoms)]
        assert len(found) == 1, (kind, bottoms, found)
        return found[0]

    def on_conv2d(self, out, x, weight, bias, stride, padding, dilation, groups):
        assert bias is None
        assert set(dilation) == {1}
        outputs, _, *sides = weight.shape
        (kernel,), (stride,), (padding,) = set(sides), set(stride), set(padding)
        layer = self.names[self.modules[id(weight)]]
        self.note(out, layer, 'conv', (self.read(x),), (outputs, kernel, stride, padding, groups))

    def on_batch_norm(self, out, x, mean, var, weight, *args, **kwargs):
        self.note(out, self.names[self.modules[id(weight)]], 'bn', (self.read(x),))

    def on_relu(self, out, x, inplace):
        self.note(out, self.find('relu', self.read(x)).name, 'relu', (self.read(x),))

    def on_max_pool2d(self, out, x, kernel, stride, padding, dilation=1, ceil_mode=False, **kwargs):
        assert ceil_mode
        assert set(padding) == {0}
        layer = self.find('max', self.read(x))
        self.note(out, layer.name, 'max', layer.bottoms, (kernel, stride, padding[0]))

    def on_interpolate(self, out, x, size, mode, align_corners, **kwargs):
        assert (mode, align_corners) == ('bilinear', True)
        layer = self.find('interp', self.read(x))
        assert tuple(size) == self.shapes[layer.bottoms[1]][1:]
        self.note(out, layer.name, 'interp', layer.bottoms)

    def on_add(self, out, a, b):
        layer = self.find('sum', self.read(a), self.read(b))
        self.note(out, layer.name, 'sum', layer.bottoms)

    def on_addcmul(self, out, trunk, mask, again):
        product = self.find('prod', self.read(mask), self.read(again))
        self.note(trunk.new_empty(trunk.shape), product.name, 'prod', product.bottoms)
        layer = self.find('sum', product.name, self.read(trunk))
        self.note(out, layer.name, 'sum', layer.bottoms)

    def on_sigmoid(self, out, x):
        self.note(out, self.find('sigmoid', self.read(x)).name, 'sigmoid', (self.read(x),))


@pytest.mark.parametrize('net', caffe_graph.NETS)
def test_every_layer_is_the_authors(net):
    """Kind, inputs, kernel, stride, padding, groups and output shape, at their 224 pixels."""
    with torch.device('meta'):
        model, image = RANetFeatures(net).eval(), torch.empty(1, 3, 224, 224)
    with torch.no_grad(), Wiring(net, model, image) as wiring:
        out = model(image)
    facts = caffe_graph.layers(net)
    assert set(wiring.done) == {layer.name for layer in facts} - set(TAIL)
    assert [layer.name for layer in facts[-3:]] == list(TAIL)
    assert facts[-3].bottoms == (wiring.read(out),)
    assert facts[-3].params == (out.shape[-1], 1, 0)


@pytest.mark.parametrize('net', caffe_graph.NETS)
def test_counts(net):
    params, units, kinds = COUNTS[net]
    with torch.device('meta'):
        model = RANetFeatures(net)
    assert sum(p.numel() for p in model.parameters()) + 2048 * 1000 + 1000 == params
    assert sum(isinstance(module, layers.Unit) for module in model.modules()) == units
    groups = dict(max='pool', ave='pool', sum='eltwise', prod='eltwise')
    counted = Counter(groups.get(layer.kind, layer.kind) for layer in caffe_graph.layers(net))
    assert counted == kinds | dict(fc=1, softmax=1)


def distance(net, size, width=1.0, **options):
    """Relative distance of our logits from the authors', with the same random weights in float64."""
    blobs = caffe_graph.random_blobs(net, width)
    image = torch.randn(1, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    state = from_caffe(blobs, dict(base=net, width=width))
    weight, bias = (state.pop(f'head.fc.{name}') for name in ('weight', 'bias'))
    with torch.device('meta'):
        model = RANetFeatures(net, width=width, **options)
    model.load_state_dict(state, assign=True)
    with torch.no_grad():
        theirs = caffe_graph.evaluate(net, blobs, image)
        ours = F.linear(model.eval()(image).mean((2, 3)), weight, bias)
    return float((ours - theirs).norm() / theirs.norm())


@pytest.mark.parametrize('size', [64, 70])
@pytest.mark.parametrize('net', caffe_graph.NETS)
def test_logits_are_the_authors(net, size):
    assert distance(net, size, width=0.25) < 1e-10


@pytest.mark.slow('whole networks in double precision')
@pytest.mark.parametrize(('net', 'size'), [('attention56', 224), *((net, 64) for net in caffe_graph.NETS)])
def test_logits_are_the_authors_in_full(net, size):
    assert distance(net, size) < 1e-10


# A change of one thing, as other implementations have made it ---------------------------------------------


def padded_pool(monkeypatch):
    monkeypatch.setattr(layers.MaxPool, 'forward', lambda self, x: F.max_pool2d(x, 3, 2, 1))


def half_pixel_corners(monkeypatch):
    monkeypatch.setattr(
        layers.Resize, 'forward', lambda self, x, like: F.interpolate(x, like.shape[-2:], None, 'bilinear')
    )


def nearest(monkeypatch):
    monkeypatch.setattr(layers.Resize, 'forward', lambda self, x, like: F.interpolate(x, like.shape[-2:]))


def down_feature_added(monkeypatch):
    official = layers.Hourglass.forward

    def forward(self, x):
        if self.inner is not None:
            skip = self.skip.forward
            monkeypatch.setattr(self.skip, 'forward', lambda h: skip(h) + h)
        return official(self, x)

    monkeypatch.setattr(layers.Hourglass, 'forward', forward)


def trunk_added(monkeypatch):
    def forward(self, x):
        x = self.pre(x)
        trunk = self.trunk(x)
        with_trunk = self.mask.hourglass.register_forward_hook(lambda module, args, out: out + trunk)
        mask = self.mask(x)
        with_trunk.remove()
        return self.post(self.merge(mask, trunk))

    monkeypatch.setattr(layers.AttentionModule, 'forward', forward)


def activated_identity(monkeypatch):
    def forward(self, x):
        a = self.act1(self.norm1(x))
        return (a if self.shortcut is None else self.shortcut(a)) + self.residual(a)

    monkeypatch.setattr(layers.ResidualUnit, 'forward', forward)


def raw_projection(monkeypatch):
    def forward(self, x):
        return (x if self.shortcut is None else self.shortcut(x)) + self.residual(self.act1(self.norm1(x)))

    monkeypatch.setattr(layers.ResidualUnit, 'forward', forward)


def stride_on_the_first_convolution(monkeypatch):
    official = layers.ResidualUnit.build

    def build(self, *args):
        official(self, *args)
        self.conv1.stride, self.conv2.stride = self.conv2.stride, self.conv1.stride

    monkeypatch.setattr(layers.ResidualUnit, 'build', build)


def naive_product(monkeypatch):
    monkeypatch.setitem(layers.LEARNING, 'residual', layers.naive_learning)


MUTATIONS = [
    padded_pool, half_pixel_corners, nearest, down_feature_added, trunk_added, activated_identity, raw_projection,
    stride_on_the_first_convolution, naive_product,
]  # fmt: skip


@pytest.mark.parametrize('mutate', MUTATIONS)
def test_one_deviation_is_noticed(mutate, monkeypatch):
    mutate(monkeypatch)
    assert distance('attention56', 64, width=0.25) > 1e-3
    with pytest.raises(AssertionError):
        test_every_layer_is_the_authors('attention56')
