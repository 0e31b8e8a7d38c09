"""Tools of others that explain networks: each takes this one as it is, as docs/attention.md shows."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

import ranet_mm  # noqa: F401 - lists the models

SMALL = dict(width=0.25, modules=(1, 1, 1), num_classes=10)


@pytest.fixture
def batch():
    return torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(name='model')
def _model():
    torch.manual_seed(0)
    return timm.create_model('attention56_cifar', **SMALL).eval()


def test_grad_cam(model, batch):
    """Where mask and trunk meet, against the gradients that autograd gives."""
    cam = pytest.importorskip('pytorch_grad_cam', reason='grad-cam is not installed')
    targets = pytest.importorskip('pytorch_grad_cam.utils.model_targets')
    found = cam.GradCAM(model, [model.stages[2][1].merge])(batch, [targets.ClassifierOutputTarget(3)])
    kept = []
    hook = model.stages[2][1].merge.register_forward_hook(lambda _, inputs, output: kept.append(output))
    (gradient,) = torch.autograd.grad(model(batch)[0, 3], kept)
    hook.remove()
    wanted = (gradient.mean((2, 3), keepdim=True) * kept[0]).sum(1).relu()[0].detach()
    wanted = torch.nn.functional.interpolate(wanted[None, None], (32, 32), mode='bilinear', align_corners=False)[0, 0]
    wanted = (wanted - wanted.min()) / (wanted.max() - wanted.min())
    assert found.shape == (1, 32, 32)
    assert torch.corrcoef(torch.stack([torch.from_numpy(found[0]).flatten(), wanted.flatten()]))[0, 1] > 0.98


def test_integrated_gradients_add_up(model, batch):
    """To the difference of the logits, by their axiom of completeness."""
    attr = pytest.importorskip('captum.attr', reason='captum is not installed')
    found = attr.IntegratedGradients(model.double()).attribute(batch.double(), target=3, n_steps=64)
    with torch.no_grad():
        wanted = model(batch.double())[0, 3] - model(torch.zeros_like(batch).double())[0, 3]
    assert float(found.sum()) == pytest.approx(float(wanted), rel=0.1)


@pytest.mark.parametrize('name', ['DeepLift', 'GuidedBackprop', 'InputXGradient'])
def test_rules_of_captum(model, batch, name):
    attr = pytest.importorskip('captum.attr', reason='captum is not installed')
    with torch.no_grad():
        logits = model(batch)
    found = getattr(attr, name)(model).attribute(batch, target=3)
    assert found.shape == batch.shape
    assert torch.isfinite(found).all()
    assert found.abs().sum() > 0
    with torch.no_grad():
        assert torch.equal(model(batch), logits)
    if name == 'InputXGradient':
        leaf = batch.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(model(leaf)[0, 3], leaf)
        torch.testing.assert_close(found, batch * gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.slow('a process that imports OpenMMLab')
def test_vis_cam_of_mmpretrain(write_config, tmp_path):
    """The tool as it is installed, with a config and a checkpoint."""
    pytest.importorskip('pytorch_grad_cam', reason='grad-cam is not installed')
    mmpretrain = pytest.importorskip('mmpretrain')
    tool = Path(mmpretrain.__file__).parent / '.mim/tools/visualization/vis_cam.py'
    config, image = write_config(), str(tmp_path / 'images/test/cat/0.png')
    torch.save(dict(state_dict=mmpretrain.get_model(config).state_dict()), 'weights.pth')
    command = [sys.executable, str(tool), image, config, 'weights.pth', '--target-layers', 'backbone.stages.2']
    subprocess.run([*command, '--save-path', 'cam.png'], check=True)
    assert np.asarray(Image.open('cam.png')).std() > 0


def test_torchinfo():
    torchinfo = pytest.importorskip('torchinfo', reason='torchinfo is not installed')
    found = torchinfo.summary(timm.create_model('attention56_cifar'), input_size=(1, 3, 32, 32), verbose=0)
    assert found.total_params == 7_202_794
