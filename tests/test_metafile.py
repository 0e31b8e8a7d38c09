"""What the model index promises is what the configs build."""

from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

modelindex = pytest.importorskip('modelindex')
pytest.importorskip('mmpretrain')

from mmengine.config import Config  # noqa: E402
from mmpretrain.apis import ModelHub  # noqa: E402
from mmpretrain.registry import MODELS  # noqa: E402

from ranet_mm.cli import tables  # noqa: E402

ROOT = Path(__file__).parents[1]
COUNTS = {'att56_cifar10': (7_202_794, 694_396_928), 'att92_cifar10': (12_170_730, 1_089_185_792)}


@pytest.fixture(scope='module')
def index():
    index = modelindex.load(str(ROOT / 'model-index.yml'))
    index.build_models_with_collections()
    return index


def models():
    return modelindex.load(str(ROOT / 'configs' / 'ranet' / 'metafile.yml')).models


def test_modelindex_finds_no_fault(index, capsys):
    index.check()
    assert 'All good!' in capsys.readouterr().out
    assert [c.name for c in index.collections] == ['Residual Attention Network']


def test_every_config_is_listed(index):
    configs = {p.relative_to(ROOT).as_posix() for p in (ROOT / 'configs' / 'ranet').glob('*.py')}
    assert {m.config for m in index.models} == configs
    assert all(Path(m.config).stem == m.name for m in index.models)


@pytest.mark.parametrize('model', models(), ids=lambda m: m.name)
def test_parameters_and_flops_are_those_of_the_config(model):
    cfg = Config.fromfile(ROOT / model.config)
    cfg.model.setdefault('_scope_', 'mmpretrain')
    net = MODELS.build(cfg.model).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.zeros(1, 3, 32, 32))
    parameters = sum(p.numel() for p in net.parameters())
    macs = counter.get_total_flops() // 2
    assert (model.metadata.parameters, model.metadata.flops) == (parameters, macs)
    assert (parameters, macs) == COUNTS.get(model.name, (parameters, macs))


@pytest.mark.parametrize('model', models(), ids=lambda m: m.name)
def test_results_are_those_of_the_records(model):
    rows = tables.results_table(ROOT)
    for result in model.results or []:
        score = f'{result.metrics["Top 1 Accuracy"]:.2f}'
        row = next(r for r in rows.splitlines() if r.startswith(f'| [{model.name}]'))
        assert result.task == 'Image Classification'
        assert f'| {result.dataset} |' in row and f'| {score}' in row


def test_mmpretrain_reads_the_index():
    ModelHub.register_model_index(ROOT / 'model-index.yml', config_prefix=ROOT)
    assert ModelHub.get('att56_digits').config.model.backbone.type == 'ranet_mm.ResidualAttentionNet'
