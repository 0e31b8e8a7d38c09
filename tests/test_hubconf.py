"""`torch.hub.load` finds every model of the table."""

from pathlib import Path

import pytest
import torch

timm = pytest.importorskip('timm')

ROOT = Path(__file__).parents[1]


def test_models_of_the_hub():
    model = torch.hub.load(str(ROOT), 'attention56_cifar', source='local', pretrained=True).eval()
    twin = timm.create_model('attention56_cifar', pretrained=True).eval()
    images = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(model(images), twin(images))
    with pytest.raises(RuntimeError, match='Cannot find callable attention57'):
        torch.hub.load(str(ROOT), 'attention57', source='local')
