"""What the model index promises is what the configs build."""

from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

pytest.importorskip('modelindex')
pytest.importorskip('mmpretrain')

import modelindex
from mmengine.config import Config
from mmpretrain.registry import MODELS

from ranet_mm import weights
from ranet_mm.cli import metafile
from ranet_mm.hub import SCHEME
from ranet_mm.lab import records

ROOT = Path(__file__).parents[1]
COUNTS = {
    'att56_cifar10': (7_202_794, 694_396_928),
    'att92_cifar10': (12_170_730, 1_089_185_792),
    'att56_in1k_paper': (31_810_728, 6_270_836_736),
    'att92_in1k_paper': (52_466_344, 10_533_789_696),
}


@pytest.fixture(scope='module')
def index():
    index = modelindex.load(str(ROOT / 'model-index.yml'))
    index.build_models_with_collections()
    return index


def test_modelindex_finds_no_fault(index, capsys):
    index.check()
    assert 'All good!' in capsys.readouterr().out
    assert [c.name for c in index.collections] == ['Residual Attention Network', 'ResNet']


def test_every_config_is_listed(index):
    configs = {p.relative_to(ROOT).as_posix() for p in (ROOT / 'configs' / 'ranet').glob('*.py')}
    assert {m.config for m in index.models} == configs, 'ranet metafile'
    assert all(Path(m.config).stem == m.name for m in index.models)


def test_entries_are_what_the_configs_say(capsys):
    assert metafile.main(['--root', str(ROOT), '--check']) == 0, 'ranet metafile'
    assert 'is current' in capsys.readouterr().out


@pytest.mark.parametrize('name', ['att56_digits', 'att92_cifar100', 'resnet18_cifar10_fast'])
def test_parameters_and_flops_are_those_of_the_network(index, name):
    (model,) = (m for m in index.models if m.name == name)
    cfg = Config.fromfile(ROOT / model.config)
    cfg.model.setdefault('_scope_', 'mmpretrain')
    net = MODELS.build(cfg.model).to('meta').eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.zeros(1, 3, 32, 32, device='meta'))
    assert model.metadata.parameters == sum(p.numel() for p in net.parameters())
    assert model.metadata.flops == counter.get_total_flops() // 2


def test_counts_of_the_paper(index):
    found = {m.name: (m.metadata.parameters, m.metadata.flops) for m in index.models if m.name in COUNTS}
    assert found == COUNTS


def test_weights_are_those_that_ship(index):
    assert {m.weights for m in index.models if m.weights} == {SCHEME + name for name in weights.index()}


def test_results_are_those_of_the_records(index):
    found = records.load((ROOT / 'results').glob('*.json'), ROOT)
    known = {(records.data_label(r), f'{records.score(r):.2f}') for r in found if records.score(r) is not None}
    for model in index.models:
        for result in model.results or []:
            assert result.task == 'Image Classification'
            assert (result.dataset, f'{result.metrics["Top 1 Accuracy"]:.2f}') in known
        assert bool(model.results) == bool(model.weights), (
            f'{model.name}: inferencers are chosen by the task of a result'
        )
