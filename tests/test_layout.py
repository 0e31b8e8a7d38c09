"""In the order N, H, W, C no map is brought into another order on the way, by whatever operator."""

import pytest
import torch

from ranet_mm import RANetFeatures

BATCH = 5  # which is no number of channels, so that maps are told from weights


def copies(step):
    """Shapes of the maps that one step copies, and the operators that do."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True) as profile:
        step()
    names = 'aten::contiguous', 'aten::clone', 'aten::_to_copy', 'aten::copy_'
    shapes = [(e.name, e.input_shapes[0]) for e in profile.events() if e.name in names and e.input_shapes]
    return [(name, shape) for name, shape in shapes if len(shape) == 4 and shape[0] == BATCH and shape[2] > 1]


@pytest.mark.parametrize(
    ('train', 'options'),
    [
        (False, {}),
        (True, {}),
        (True, dict(recompute='activations')),
        (True, dict(recompute='modules')),
        (True, dict(upsample='nearest', attention='channel')),
        (True, dict(attention='spatial', unit='resnext', width=0.5)),
    ],
    ids=str,
)
def test_no_map_is_copied(train, options):
    net = RANetFeatures('attention56_cifar', **{'width': 0.125, **options}).train(train)
    net.to(memory_format=torch.channels_last)
    x = torch.randn(BATCH, 3, 32, 32).to(memory_format=torch.channels_last)

    def step():
        with torch.set_grad_enabled(train):
            out = net(x)
            if train:
                out.mean((2, 3)).square().sum().backward()

    assert not copies(step)


def test_copies_are_seen():
    x = torch.randn(BATCH, 3, 32, 32)
    assert copies(lambda: x.to(memory_format=torch.channels_last))
