"""Names that configs had in version 0.1: records tell them, and as an argument they work for one more release."""

from __future__ import annotations

import re
from typing import Any

FOLDER = dict(folder='data/cifar10_folder')
DEVICE = dict(FOLDER, on_device=True)
NOISE = dict(wrong_labels=0.3)
ARCH = 'model.backbone.arch'

# What stood behind the data's name, the options that say it now, and the names of today.
SWITCHED = (
    ('-folder', FOLDER, 'att56_cifar10 att92_cifar10'),
    ('-folder', dict(folder='data/cifar100_folder'), 'att56_cifar100 att92_cifar100'),
    ('-folder-device', DEVICE, 'att56_cifar10_best att92_cifar10_best resnet18_cifar10_best resnet50_cifar10_best'),
    ('-folder-device', DEVICE, 'att56_cifar10_fast att92_cifar10_fast resnet18_cifar10_fast resnet50_cifar10_fast'),
    ('-folder-device', DEVICE, 'att56_cifar10_report att92_cifar10_report'),
    ('-folder-device', FOLDER, 'att56_cifar10_alternate resnet18_cifar10_alternate'),
    ('-folder-device', FOLDER, 'att56_cifar10_progressive att92_cifar10_annealed'),
    ('-folder-noise-device', DEVICE | NOISE, 'att56_cifar10_fast resnet18_cifar10_fast'),
    ('-noise', NOISE, 'att92_cifar10_paper resnet50_cifar10_paper'),
)
# Old name: name, and the options that say the rest.
RENAMED: dict[str, tuple[str, dict[str, Any]]] = {
    **{
        re.sub(r'cifar\d+', rf'\g<0>{switches}', name): (name, options)
        for switches, options, names in SWITCHED for name in names.split()
    },
    'att236_cifar10-folder-device_best': ('att56_cifar10_best', DEVICE | {ARCH: 'attention236_cifar'}),
    'att452_cifar10-folder-device_best': ('att56_cifar10_best', DEVICE | {ARCH: 'attention452_cifar'}),
    'att92_cifar10-folder-device_progressive': ('att56_cifar10_progressive', FOLDER | {ARCH: 'attention92_cifar'}),
    **{f'att{n}_in1k_paper': ('att56_in1k_paper', {ARCH: f'attention{n}'}) for n in (128, 164, 236, 452)},
    'attnext92_in1k_paper': ('att56_in1k_paper', {ARCH: 'attentionnext92'}),
    'attnext56_in1k_modern': ('att56_in1k_modern', {ARCH: 'attentionnext56'}),
}  # fmt: skip

# Recipes that others outdid: their rows in docs/results.md name the commit that has them.
GIVEN_UP = {
    **{f'att56_cifar10-folder_{name}': 'att56_cifar10_progressive' for name in ('fast', 'restart', 'muon', 'final')},
    'att92_cifar10-folder-device_deepened': 'att92_cifar10_annealed',
}
