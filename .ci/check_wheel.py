"""What an installed wheel must offer; runs outside the checkout, in an environment that holds nothing else."""

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import timm
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

import ranet_mm

package = Path(ranet_mm.__file__).parent
assert package.is_relative_to(sys.prefix), f'{package} is not the installed package'

names = timm.list_models('attention*')
assert {'attention56', 'attention92', 'attention56_cifar', 'attention92_cifar'} <= set(names), names
assert timm.create_model('attention56_cifar', width=0.25, num_classes=10)(torch.zeros(2, 3, 32, 32)).shape == (2, 10)

assert find_spec('mmdet') is None
backbone = MODELS.build(dict(type='ranet_mm.ResidualAttentionNet', arch='attention56_cifar', width=0.25))
assert [m.shape[1:] for m in backbone(torch.zeros(2, 3, 32, 32))] == [(256, 8, 8)]

mim = package / '.mim'
assert (mim / 'model-index.yml').is_file()
configs = sorted((mim / 'configs' / 'ranet').glob('*.py'))
assert configs, f'{mim} holds no config'
for path in configs:
    ours = path.name.startswith('att')  # others are ResNets to compare with
    assert (Config.fromfile(path).model.backbone.type == 'ranet_mm.ResidualAttentionNet') == ours, path

ranet = Path(sys.executable).with_name('ranet')
subprocess.run([ranet, 'models', 'attention56_cifar'], check=True)
command = [ranet, 'train', 'ranet/att56_digits']  # found by name in the package
tiny = ['model.backbone.width=0.125', 'model.head.in_channels=128', 'train_cfg.max_epochs=1']
subprocess.run([*command, '--work-dir', 'run', '--cfg-options', *tiny], check=True)
assert Path('run', 'record.json').is_file()
shutil.rmtree('run')

print(f'{package.name} {ranet_mm.__version__}: {len(names)} models for timm, {len(configs)} configs in the wheel')
