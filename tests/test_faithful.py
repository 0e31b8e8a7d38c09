"""What a network loses without its masks, and which pixels it decides by."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from ranet_mm import RANetFeatures, attention_maps
from ranet_mm.lab import faithful

CFG = dict(base='attention56_cifar', width=0.25)


@pytest.fixture(scope='module')
def network():
    torch.manual_seed(0)
    return RANetFeatures(CFG).eval()


class Classifier(nn.Module):
    """The network's pooled features as logits."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x).mean((2, 3))


@torch.no_grad()
def test_a_mask_of_zero_leaves_the_trunk(network):
    x = torch.randn(2, 3, 32, 32)
    name = 'stages.1.1'
    with faithful.replaced(network, [name], torch.zeros_like):
        found = network(x)
    first, unit, module = network.stages[0], network.stages[1][0], network.stages[1][1]
    y = module.post(module.trunk(module.pre(unit(first(network.stem(x))))))
    y = network.act(network.norm(network.stages[3](network.stages[2](y))))
    torch.testing.assert_close(found, y)
    assert not torch.equal(found, network(x))


def test_the_mask_of_another_image_is_that_of_the_one_before():
    mask = torch.arange(3.0).view(3, 1, 1, 1)
    assert faithful.REPLACED["another image's"](mask).flatten().tolist() == [2, 0, 1]


def test_ablations_count_what_is_lost(network):
    model, images = Classifier(network), torch.randn(8, 3, 32, 32)
    with torch.no_grad():
        labels = model(images).argmax(1)
    whole, *rows = faithful.ablations(model, images, labels, batch_size=4)
    assert (whole['accuracy'], whole['module']) == (100, None)
    assert [row['module'] for row in rows] == [n for n in [*attention_maps(network, images), None] for _ in range(4)]
    with torch.no_grad(), faithful.replaced(model, ['stages.0.1'], torch.zeros_like):
        right = (torch.cat([model(x).argmax(1) for x in images.split(4)]) == labels).double().mean().item()
    assert rows[0]['accuracy'] == pytest.approx(100 * right)
    assert rows[0]['difference'] == pytest.approx(100 * right - 100)


class Corner(nn.Module):
    """Two classes, told apart by the sum of the 4 x 4 pixels in the upper left."""

    def forward(self, x):
        score = x[:, 0, :4, :4].sum((1, 2))
        return torch.stack([score, -score], 1)


def test_curves_fall_where_the_deciding_pixels_go():
    images = torch.full((1, 1, 16, 16), 0.1)
    corner = torch.zeros(1, 16, 16)
    corner[:, :4, :4] = 1
    ways = dict(right=lambda *_: corner, wrong=lambda *_: -corner)
    right, wrong = faithful.curves(Corner(), images, ways)
    # A sixteenth of the pixels are the corner: with them, the score of 1.6 becomes 0, and the two classes are equal.
    certain = 1 / (1 + np.exp(-2 * 1.6))
    np.testing.assert_allclose(right['deletion']['curve'], [certain] + [0.5] * 16, rtol=1e-5)
    np.testing.assert_allclose(wrong['deletion']['curve'], [certain] * 16 + [0.5], rtol=1e-5)
    assert right['deletion']['area'] == pytest.approx((certain + 0.5) / 2 / 16 + 0.5 * 15 / 16, rel=1e-5)


def test_ranks_are_the_share_of_pixels_that_score_higher():
    scores = torch.tensor([[[0.1, 0.9], [0.5, 0.3]]])
    assert faithful.ranks(scores).tolist() == [[[0.75, 0.0], [0.25, 0.5]]]


def test_objects(network):
    images, inside = torch.randn(2, 3, 64, 64), torch.zeros(2, 64, 64, dtype=torch.bool)
    inside[:, 16:40, 8:40] = True
    rows = faithful.on_objects(network, images, inside)
    masks = attention_maps(network, images, 'mean', 'input')['stages.0.1'].mask[:, 0].numpy()
    assert rows[0]['inside'] == pytest.approx(np.mean([m[i] for m, i in zip(masks, inside.numpy(), strict=True)]))
    # The probability that a pixel inside has a higher mask than one outside, counted over all pairs.
    pairs = [(m[i][:, None] > m[~i]).mean() for m, i in zip(masks, inside.numpy(), strict=True)]
    assert rows[0]['auroc'] == pytest.approx(np.mean(pairs), abs=1e-3)


def test_statistics_are_an_analysis_of_variance(network):
    images = torch.randn(4, 3, 32, 32)
    row = faithful.statistics(network, images)[0]
    mask = attention_maps(network, images)['stages.0.1'].mask.double().numpy()
    assert row['mean'] == pytest.approx(mask.mean())
    assert row['deviation'] == pytest.approx(mask.std())
    assert row['positions'] == pytest.approx(mask.var((2, 3)).mean() / mask.var())
    assert row['images'] == pytest.approx(mask.mean((1, 2, 3)).var() / mask.var())
    assert row['positions'] + row['channels'] + row['images'] == pytest.approx(1)


def test_other_libraries_score_pixels(network):
    pytest.importorskip('pytorch_grad_cam')
    pytest.importorskip('captum')
    timm = pytest.importorskip('timm')
    model = timm.create_model('attention56_cifar', width=0.25).eval()
    ways = faithful.methods(model)
    for name in ('Grad-CAM', 'integrated gradients', 'mask times trunk of stages.2.1', 'random'):
        assert ways[name](model, torch.randn(2, 3, 32, 32), torch.tensor([1, 2])).shape == (2, 32, 32)


@pytest.mark.slow('attributions of one image, and images that are generated')
def test_a_record_says_what_was_measured(tmp_path, capsys):
    pytest.importorskip('timm')
    pytest.importorskip('captum')
    pytest.importorskip('pytorch_grad_cam')
    import ranet

    shown = ['--title', 'mine', '--training', 'ranet train x', '--json', str(tmp_path / 'a.json')]
    argv = ['faithfulness', 'digits', '--model', 'attention56_cifar.digits', '--images', '4', '--curves', '1', *shown]
    assert not ranet.main(argv), capsys.readouterr().err
    found = json.loads((tmp_path / 'a.json').read_text())
    assert (found['model'], found['training'], found['images'], found['curve_images']) == (
        'mine',
        'ranet train x',
        4,
        1,
    )
    assert {part['mask'] for part in found['ablations']} >= {'its own', 'zero'}
