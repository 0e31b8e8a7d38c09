"""Bring `configs/ranet/metafile.yml` up to date: one entry for each config, with counts of what it builds."""

from __future__ import annotations

import functools
import json
import re
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from .. import files
from ..complexity import complexity
from ..hub import SCHEME
from ..image_files import natural
from ..lab import records
from ..lab.grid import fields_of
from ..mm import config
from .program import command

FOLDER = Path('configs', 'ranet')
DATA = dict(cifar10='CIFAR-10', cifar100='CIFAR-100', in1k='ImageNet-1k', digits='Digits (scikit-learn)')
NOT_COUNTED = {'drop_path_rate', 'init_cfg', 'zero_init_last'}


@command('--root', '--check')
def main(args: Namespace) -> int:
    path = args.root / FOLDER / 'metafile.yml'
    old, known = path.read_text(encoding='utf-8'), fields_of(path, 'model index')
    new = updated(args.root, known)
    if new != old and not args.check:
        files.write(path, new)
    print(f'{path} {"is current" if new == old else "is not current" if args.check else "written"}')
    return int(args.check and new != old)


def updated(root: Path, metafile: Mapping[str, Any]) -> str:
    """The metafile as it should be; `Weights` of its entries are kept, and give their `Results`."""
    known = {model['Name']: model for model in metafile['Models']}
    names = sorted((path.stem for path in (root / FOLDER).glob('*.py')), key=natural)
    models = [entry_of(root, name, known.get(name, {})) for name in names]
    text = yaml.safe_dump(dict(metafile, Models=models), sort_keys=False, allow_unicode=True, width=120)
    return re.sub(r'^(?=- Name: )', '\n', text, flags=re.MULTILINE).replace(':\n\n- ', ':\n- ')


def entry_of(root: Path, name: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of a config."""
    path = FOLDER / f'{name}.py'
    counts, data = counts_of(root, config.read_config(str(root / path)).model), DATA[name.split('_')[1]]
    return {
        'Name': name,
        'Metadata': {'Training Data': data, 'FLOPs': counts['macs'], 'Parameters': counts['params']},
        'In Collection': 'ResNet' if name.startswith('resnet') else 'Residual Attention Network',
        'Config': path.as_posix(),
        **({'Weights': known['Weights'], 'Results': results_of(root, known['Weights'])} if 'Weights' in known else {}),
    }


def results_of(root: Path, address: str) -> list[dict[str, Any]]:
    """What the record of the run that made shipped weights says; an address is `ranet_mm://NAME`."""
    return [
        {
            'Dataset': records.data_label(run),
            'Task': 'Image Classification',
            'Metrics': {'Top 1 Accuracy': round(records.score(run), 2)},
        }
        for run in records.load((root / 'results').glob('*.json'), root)
        if run.get('shipped', {}).get('weights') == address.removeprefix(SCHEME)
    ]


def counts_of(root: Path, model: Mapping[str, Any]) -> dict[str, int]:
    """Counts of a classifier: those that the tests assert for its variant, or else of the network that is built."""
    backbone, head = model['backbone'], model['head']
    if set(backbone) - NOT_COUNTED != {'type', 'arch'} or not isinstance(backbone['arch'], str):
        return built(json.dumps(dict(model, head=dict(head, loss=dict(type='CrossEntropyLoss'))), sort_keys=True))
    golden = json.loads((root / 'tests' / 'golden' / 'models.json').read_text(encoding='utf-8'))[backbone['arch']]
    more = head['num_classes'] - golden['num_classes']
    features = head['in_channels']
    return dict(params=golden['params'] + more * (features + 1), macs=golden['macs'] + more * features)


@functools.cache
def built(model: str) -> dict[str, int]:
    """Counts of a classifier of small images, given as JSON."""
    from mmengine.registry import MODELS, init_default_scope

    init_default_scope('mmpretrain')
    return complexity(MODELS.build(json.loads(model)).to('meta'), torch.empty(1, 3, 32, 32, device='meta'))
