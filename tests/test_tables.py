"""The committed documents hold the tables that the records and golden counts make."""

import json
import math
import re
from pathlib import Path

import pytest

from ranet_mm.cli import tables

ROOT = Path(__file__).parents[1]


def record(name='att56_digits', seed=0, top1=99.0, dataset=None, done=2, **fields):
    curve = [{'epoch': e, 'loss': 1.0 / e, tables.METRIC: top1 + e - done} for e in range(1, done + 1)]
    dataset = dataset or dict(type='ranet_mm.Digits')
    settings = dict(train_dataloader=dict(dataset=dataset))
    run = dict(config=f'configs/ranet/{name}.py', seed=seed, epochs=2, seconds=90.0, hardware='CPU')
    return run | dict(curve=curve, settings=settings, **fields)


@pytest.fixture
def checkout(tmp_path):
    for name in tables.DOCUMENTS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text('above\n<!-- results:begin -->\nold\n<!-- results:end -->\nbelow\n')
    return tmp_path


def save(checkout, **records):
    for name, content in records.items():
        (checkout / 'results' / f'{name}.json').write_text(json.dumps(content))


def test_committed_documents_are_current():
    assert tables.main(['--check', '--root', str(ROOT)]) == 0


def test_check_reports_and_leaves_stale_documents(checkout, capsys):
    save(checkout, a=record())
    assert tables.main(['--check', '--root', str(checkout)]) == 1
    assert 'README.md is not current' in capsys.readouterr().out
    assert 'old' in (checkout / 'README.md').read_text()
    assert tables.main(['--root', str(checkout)]) == 0
    assert tables.main(['--check', '--root', str(checkout)]) == 0
    text = (checkout / 'README.md').read_text()
    assert text.startswith('above\n') and text.endswith('below\n') and 'old' not in text


def test_links_start_at_the_documents_folder(checkout):
    save(checkout, a=record())
    tables.main(['--root', str(checkout)])
    assert '(configs/ranet/att56_digits.py)' in (checkout / 'README.md').read_text()
    text = (checkout / 'configs/ranet/README.md').read_text()
    assert '(../../configs/ranet/att56_digits.py)' in text and '(../../results/a.json)' in text


def test_seeds_share_a_row_with_mean_and_spread(checkout):
    save(checkout, a=record(seed=0, top1=98.0), b=record(seed=1, top1=99.0), c=record(name='att92_digits'))
    rows = tables.results_table(checkout).splitlines()[2:]
    assert len(rows) == 2
    assert '98.50 ± 0.71 %' in rows[0] and '[seed 0](results/a.json), [seed 1](results/b.json)' in rows[0]
    assert '| 99.00 % |' in rows[1]


def test_a_row_shows_the_last_epoch_and_that_a_run_was_cut(checkout):
    save(checkout, a=record(done=1, top1=80.0, command='python tools/train.py x.py'))
    row = tables.results_table(checkout).splitlines()[2]
    assert '| 1 of 2 | 80.00 % | 1.5 min, CPU | `python tools/train.py x.py` |' in row


@pytest.mark.parametrize(
    ('name', 'dataset', 'label'),
    [
        ('att56_digits', dict(type='ranet_mm.Digits'), 'Digits (scikit-learn)'),
        ('att56_cifar10', dict(type='CIFAR10'), 'CIFAR-10'),
        ('att56_cifar10-folder', dict(type='ranet_mm.ImageFolder', root='x/train'), 'CIFAR-10 (JPEG copy)'),
        ('att56_flowers', dict(type='ranet_mm.ImageFolder', root='x/flowers/train'), 'flowers'),
        ('att56_cifar10', dict(type='RepeatDataset', dataset=dict(type='CIFAR10')), 'CIFAR-10'),
    ],
)
def test_data_label(name, dataset, label):
    assert tables.data_label(record(name=name, dataset=dataset)) == label


def test_unknown_region_is_refused(tmp_path):
    with pytest.raises(ValueError, match="region 'flops' is not known: allowed are results, steps, models"):
        tables.fill('<!-- flops:begin -->\n<!-- flops:end -->', tmp_path)


@pytest.mark.parametrize('path', sorted((ROOT / 'results').rglob('*.json')), ids=lambda p: p.stem)
def test_records_are_complete_and_portable(path):
    text = path.read_text()
    run = json.loads(text)
    assert run.keys() >= {'config', 'seed', 'commit', 'versions', 'hardware', 'data', 'epochs', 'seconds', 'curve'}
    assert (ROOT / run['config']).is_file()
    assert [p['epoch'] for p in run['curve']] == list(range(1, len(run['curve']) + 1))
    assert not re.search(r'"/\w', text), 'a record holds an absolute path'


@pytest.mark.parametrize('path', sorted((ROOT / 'results' / 'steps').glob('*.json')), ids=lambda p: p.stem)
def test_every_option_trained_with_a_finite_and_falling_loss(path):
    run = json.loads(path.read_text())
    losses = [point['loss'] for point in run['curve']]
    assert run['iteration'] == run['iterations'] >= 200
    assert all(math.isfinite(loss) for loss in losses)
    assert losses[-1] < losses[0]
