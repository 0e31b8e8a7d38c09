"""Names that configs had in version 0.1: records tell them, and as an argument they work for one more release."""

from __future__ import annotations

from typing import Any

FOLDER = dict(folder='data/cifar10_folder')
DEVICE = dict(FOLDER, on_device=True)
NOISE = dict(wrong_labels=0.3)
ON_DEVICE = dict(
    att56=('best', 'fast', 'report'), att92=('best', 'fast', 'report'), resnet18=('best', 'fast'),
    resnet50=('best', 'fast'),
)  # fmt: skip
DEEPER = 'att128_in1k_paper', 'att164_in1k_paper', 'att236_in1k_paper', 'att452_in1k_paper'
ARCH = 'model.backbone.arch'

# Old name: name, and the options that say the rest.
RENAMED: dict[str, tuple[str, dict[str, Any]]] = {
    **{
        f'{net}_{data}-folder': (f'{net}_{data}', dict(folder=f'data/{data}_folder'))
        for net in ('att56', 'att92') for data in ('cifar10', 'cifar100')
    },
    **{
        f'{net}_cifar10-folder-device_{recipe}': (f'{net}_cifar10_{recipe}', DEVICE)
        for net, recipes in ON_DEVICE.items() for recipe in recipes
    },
    'att236_cifar10-folder-device_best': ('att56_cifar10_best', DEVICE | {ARCH: 'attention236_cifar'}),
    'att452_cifar10-folder-device_best': ('att56_cifar10_best', DEVICE | {ARCH: 'attention452_cifar'}),
    'att56_cifar10-folder-device_alternate': ('att56_cifar10_alternate', FOLDER),
    'att56_cifar10-folder-device_progressive': ('att56_cifar10_progressive', FOLDER),
    'att92_cifar10-folder-device_annealed': ('att92_cifar10_annealed', FOLDER),
    'att92_cifar10-folder-device_progressive': ('att56_cifar10_progressive', FOLDER | {ARCH: 'attention92_cifar'}),
    'resnet18_cifar10-folder-device_alternate': ('resnet18_cifar10_alternate', FOLDER),
    'att56_cifar10-folder-noise-device_fast': ('att56_cifar10_fast', DEVICE | NOISE),
    'resnet18_cifar10-folder-noise-device_fast': ('resnet18_cifar10_fast', DEVICE | NOISE),
    'att92_cifar10-noise_paper': ('att92_cifar10_paper', NOISE),
    'resnet50_cifar10-noise_paper': ('resnet50_cifar10_paper', NOISE),
    **{name: ('att56_in1k_paper', {ARCH: name.partition('_')[0].replace('att', 'attention')}) for name in DEEPER},
    'attnext92_in1k_paper': ('att56_in1k_paper', {ARCH: 'attentionnext92'}),
    'attnext56_in1k_modern': ('att56_in1k_modern', {ARCH: 'attentionnext56'}),
}  # fmt: skip

# Recipes that others outdid: their rows in docs/results.md name the commit that has them.
GIVEN_UP = {
    **{f'att56_cifar10-folder_{name}': 'att56_cifar10_progressive' for name in ('fast', 'restart', 'muon', 'final')},
    'att92_cifar10-folder-device_deepened': 'att92_cifar10_annealed',
}
