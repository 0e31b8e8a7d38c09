"""One network: equal weights give equal logits in plain torch, timm and OpenMMLab, under the same keys."""

import pytest
import torch

pytest.importorskip('timm', reason='timm is not installed: pip install timm')
pytest.importorskip('mmpretrain', reason='mmpretrain is not installed: pip install onedl-mmpretrain')

import timm
from mmpretrain.registry import MODELS

from ranet_mm import ARCHS, RANetFeatures
from ranet_mm.weights import keys

WIDTH = 0.25
CASES = [
    ('attention56', {}),
    ('attention92', {}),
    ('attentionnext56', {}),
    ('attention56_cifar', {}),
    ('attention92_cifar', {}),
    ('attention56_table1', {}),
    ('attention56_cifar', dict(p=2, t=1, r=2, unit='type2', attention='channel', learning='naive')),
    ('attention56_cifar', dict(mask='local', attention='spatial', always_project=True)),
    ('attention56_cifar', dict(upsample='nearest', output_stride=8)),
]


def classifier(arch, options, features, classes):
    """mmpretrain's classifier with our backbone, neck and head."""
    flatten = ARCHS[arch].flatten
    return MODELS.build(
        dict(
            type='ImageClassifier',
            backbone=dict(type='ranet_mm.ResidualAttentionNet', arch=arch, width=WIDTH, **options),
            neck=dict(type='ranet_mm.ResidualAttentionNeck', mode='flatten' if flatten else 'avg'),
            head=dict(type='ranet_mm.ResidualAttentionHead', num_classes=classes, in_channels=features),
        )
    )


def random_images(count, arch):
    side = min(arch.img_size, 64)
    return torch.randn(count, 3, side, side)


@pytest.fixture(scope='module', params=CASES, ids=lambda case: '-'.join((case[0], *map(str, case[1].values()))))
def networks(request):
    """The same weights in the three ecosystems, after a step has changed every buffer."""
    arch, options = request.param
    torch.manual_seed(0)
    model = timm.create_model(arch, width=WIDTH, **options).train()
    model(random_images(4, arch=model.arch))
    plain = RANetFeatures(arch, width=WIDTH, **options)
    mm = classifier(arch, options, model.head_hidden_size, model.num_classes)
    return model.eval(), plain.eval(), mm.eval()


def test_equal_logits_from_equal_weights(networks):
    model, plain, mm = networks
    state = model.state_dict()
    plain.load_state_dict({k: v for k, v in state.items() if not k.startswith('head.')}, strict=True)
    mm.load_state_dict({k if k.startswith('head.') else f'backbone.{k}': v for k, v in state.items()}, strict=True)
    images = random_images(2, arch=model.arch)
    logits = model(images)
    features = plain(images)
    pooled = features.flatten(1) if model.arch.flatten else features.mean((2, 3))
    torch.testing.assert_close(model.get_classifier()(pooled), logits)
    torch.testing.assert_close(mm.extract_feat(images, stage='backbone')[0], features)
    torch.testing.assert_close(mm(images, mode='tensor'), logits)


def test_keys_are_equal_up_to_the_prefix(networks):
    model, plain, mm = networks
    assert list(keys.plain(mm.state_dict())) == list(model.state_dict())
    assert [k for k in model.state_dict() if not k.startswith('head.')] == list(plain.state_dict())
