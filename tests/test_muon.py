"""Muon: what its steps are, and that timm's and PyTorch's own optimizers take them too."""

import copy

import pytest
import torch
from torch import nn

pytest.importorskip('mmengine')

from mmengine.registry import OPTIMIZERS

from ranet_mm.mm.engine.muon import Muon, newton_schulz


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, bias=False), nn.BatchNorm2d(16), nn.Conv2d(16, 8, 1), nn.Flatten(), nn.Linear(8 * 16, 4)
    )


def train(model, optimizer, steps=3):
    torch.manual_seed(1)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(torch.randn(8, 3, 6, 6)), torch.arange(8) % 4).backward()
        optimizer.step()


class TestNewtonSchulz:
    @pytest.mark.parametrize('shape', [(8, 8), (16, 144), (64, 16), (1, 27)])
    def test_is_the_orthogonal_factor(self, shape):
        torch.manual_seed(0)
        matrix = torch.randn(shape, dtype=torch.float64)
        found = newton_schulz(matrix)
        left, _, right = torch.linalg.svd(matrix, full_matrices=False)
        values = torch.linalg.svdvals(found)
        assert found.shape == shape
        assert 0.9 < values.min() <= values.max() < 1.1
        assert ((left @ right) * found).sum() > 0.97 * min(shape)

    def test_small_singular_values_too(self):
        torch.manual_seed(0)
        values = torch.tensor([1.0, 0.3, 0.1, 0.03], dtype=torch.float64)
        left, right = (torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))[0] for _ in range(2))
        found = torch.linalg.svdvals(newton_schulz(left @ values.diag() @ right))
        assert 0.9 < found.min() <= found.max() < 1.1

    def test_scale_does_not_matter_and_zero_stays(self):
        torch.manual_seed(0)
        matrix = torch.randn(4, 9)
        # A power of two changes no digit, in bfloat16 neither, in which float32 is computed where hardware can.
        torch.testing.assert_close(newton_schulz(1024 * matrix), newton_schulz(matrix))
        assert not newton_schulz(torch.zeros(4, 9)).any()


class TestMuon:
    def test_kernels_move_by_a_fifth_of_the_rate(self):
        model = network()
        before = copy.deepcopy(model)
        train(model, Muon(model.parameters(), lr=0.01), steps=1)
        for i in (0, 2):
            moved = (model[i].weight - before[i].weight).square().mean().sqrt()
            assert moved.item() == pytest.approx(0.2 * 0.01, rel=0.1)

    def test_kernels_move_as_by_timm(self):
        """To the precision of bfloat16, in which timm's orthogonalizes."""
        optim = pytest.importorskip('timm.optim.muon')
        ours, theirs = network(), network()
        train(ours, Muon(ours.parameters(), lr=0.01, sgd_ratio=0.0, weight_decay=0.1))
        kernels = [p for p in theirs.parameters() if p.dim() == 4]
        options = dict(momentum=0.95, nesterov=True, weight_decay=0.1, adjust_lr_fn='match_rms_adamw')
        start = network()
        train(theirs, optim.Muon(kernels, lr=0.01, **options))
        for i in (0, 2):
            moved = theirs[i].weight - start[i].weight
            assert (ours[i].weight - theirs[i].weight).norm() < 0.03 * moved.norm()

    def test_all_others_move_as_by_sgd(self):
        ours, theirs = network(), network()
        groups = [
            dict(params=[p for p in ours.parameters() if p.dim() == 4], lr=0.0),
            dict(params=[p for p in ours.parameters() if p.dim() != 4], lr=0.01),
        ]
        train(ours, Muon(groups, sgd_ratio=5.0, sgd_momentum=0.8))
        others = [p for p in theirs.parameters() if p.dim() != 4]
        train(theirs, torch.optim.SGD(others, lr=0.05, momentum=0.8, nesterov=True))
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(a, b)

    def test_decay_alone(self):
        model = network()
        before = copy.deepcopy(model)
        optimizer = Muon(model.parameters(), lr=0.01, sgd_ratio=5.0, weight_decay=0.5)
        for p in model.parameters():
            p.grad = torch.zeros_like(p)
        optimizer.step()
        for a, b in zip(model.parameters(), before.parameters(), strict=True):
            torch.testing.assert_close(a, b * (1 - (0.01 if a.dim() == 4 else 0.05) * 0.5))

    def test_goes_on_from_its_state(self):
        whole, cut = network(), network()
        optimizer = Muon(whole.parameters())
        train(whole, optimizer)
        train(whole, optimizer)
        optimizer = Muon(cut.parameters())
        train(cut, optimizer)
        state = copy.deepcopy(optimizer.state_dict())
        optimizer = Muon(cut.parameters())
        optimizer.load_state_dict(state)
        train(cut, optimizer)
        for a, b in zip(whole.parameters(), cut.parameters(), strict=True):
            assert torch.equal(a, b)

    def test_parameters_without_a_gradient_stay(self):
        model = network()
        model[0].weight.requires_grad_(False)
        before = model[0].weight.clone()
        train(model, Muon(model.parameters(), weight_decay=0.1))
        assert torch.equal(model[0].weight, before)

    @pytest.mark.parametrize(
        ('name', 'value'), [('lr', -1), ('sgd_ratio', -0.1), ('momentum', 1.0), ('sgd_momentum', -1)]
    )
    def test_bad_options(self, name, value):
        with pytest.raises(ValueError, match=f'{name}={value} is not allowed: it must be 0 or more'):
            OPTIMIZERS.build(dict(type='ranet_mm.Muon', params=[nn.Parameter(torch.zeros(1))], **{name: value}))

    def test_flat_parameters_are_refused(self):
        with pytest.raises(ValueError, match='no parameter has the 4 dimensions of a kernel; FSDPStrategy'):
            Muon([nn.Parameter(torch.zeros(27))])
