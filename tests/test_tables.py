"""The committed documents and plots hold what the records and golden counts make."""

import json
import math
import re
import shutil
from functools import partial
from pathlib import Path

import pytest

from ranet_mm.cli import tables
from ranet_mm.lab import grid, plots, records
from ranet_mm.lab.tables import experiments_table, results_table, runs_table, speed_tables, sweep_table
from ranet_mm.mm.renamed import GIVEN_UP, RENAMED

ROOT = Path(__file__).parents[1]


def record(name='att56_digits', seed=0, top1=99.0, dataset=None, done=2, **fields):
    curve = [{'epoch': e, 'loss': 1.0 / e, records.METRIC: top1 + e - done} for e in range(1, done + 1)]
    dataset = dataset or dict(type='ranet_mm.Digits')
    settings = dict(train_dataloader=dict(dataset=dataset))
    run = dict(config=f'configs/ranet/{name}.py', seed=seed, epochs=2, seconds=90.0, hardware='CPU')
    return run | dict(curve=curve, settings=settings, **fields)


@pytest.fixture
def checkout(tmp_path):
    for name in tables.DOCUMENTS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text('above\n<!-- results:begin -->\nold\n<!-- results:end -->\nbelow\n')
    shutil.copy(ROOT / 'results/published.yml', tmp_path / 'results')
    return tmp_path


def save(checkout, **records):
    for name, content in records.items():
        (checkout / 'results' / f'{name}.json').write_text(json.dumps(content))


def test_committed_documents_and_plots_are_current():
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
    rows = results_table(checkout).splitlines()[2:]
    assert len(rows) == 2
    assert '98.50 ± 0.71 %' in rows[0] and '[seed 0](results/a.json), [seed 1](results/b.json)' in rows[0]
    assert '| 99.00 % |' in rows[1]


def test_the_best_of_each_network_on_each_data_set(checkout):
    other = dict(type='CIFAR10')
    save(
        checkout, a=record(top1=98.0), b=record(name='att56_digits_fast', top1=99.0),
        c=record(name='att92_digits', top1=97.0), d=record(name='att92_cifar10', top1=90.0, dataset=other),
        e=record(name='att92_cifar10_best', seed=1, top1=95.0, dataset=other),
        f=record(name='att92_cifar10_best', seed=2, top1=96.0, dataset=other),
    )  # fmt: skip
    best = [line.split(' | ')[3] for line in results_table(checkout).splitlines()[2:]]
    assert best == ['95.50 ± 0.71 %', '99.00 %', '97.00 %']
    assert len(runs_table(checkout).splitlines()) == 2 + 5


def test_a_row_has_every_line_that_makes_it_in_the_names_of_today(checkout):
    train = 'tools/dist_train.sh configs/ranet/{}.py 2 --resume --cfg-options test_dataloader.num_workers=0'.format
    earlier = dict(command=train('att56_cifar10-folder-device_alternate'), commit='abc', epochs=15, iterations=9,
                   iteration=9, seconds=1.0)  # fmt: skip
    name = 'att92_cifar10-folder-device_annealed'
    more = dict(
        earlier=[earlier], prepare=['ranet convert work_dirs/att56_cifar10-folder-device_alternate/epoch_15.pth x.pth']
    )
    save(checkout, a=record(name=name, command=train(name), commit='abd', **more))
    row = results_table(checkout).splitlines()[2]
    options = '--cfg-options folder=data/cifar10_folder test_dataloader.num_workers=0'
    assert row.startswith('| [att92_cifar10_annealed](configs/ranet/att92_cifar10_annealed.py) |')
    assert (
        f'| `tools/dist_train.sh configs/ranet/att56_cifar10_alternate.py 2 {options}`<br>'
        '`ranet convert work_dirs/att56_cifar10_alternate/epoch_15.pth x.pth`<br>'
        f'`tools/dist_train.sh configs/ranet/att92_cifar10_annealed.py 2 {options}` |'
    ) in row


def test_a_config_that_was_given_up_is_told_with_its_commit(checkout):
    line = 'python tools/train.py configs/ranet/att56_cifar10-folder_fast.py'
    save(checkout, a=record(name='att56_cifar10-folder_fast', command=line, commit='abc'))
    row = results_table(checkout).splitlines()[2]
    assert row.startswith('| `att56_cifar10-folder_fast` at `abc` |') and f'| `{line}` at `abc` |' in row


@pytest.mark.parametrize('name', ['annealed', 'deepened'])
def test_rows_from_converted_weights_begin_with_the_run_and_the_conversion(name):
    row = next(line for line in runs_table(ROOT).splitlines() if f'results/att92_cifar10-folder-device_{name}' in line)
    _, convert, own = row.split('<br>')
    assert convert.startswith('`ranet convert work_dirs/att56_') and f'work_dirs/att92_{name}.pth' in convert
    assert f'_{name}.py' in own


def test_a_row_shows_the_last_epoch_and_that_a_run_was_cut(checkout):
    save(checkout, a=record(done=1, top1=80.0, command='python tools/train.py x.py'))
    row = results_table(checkout).splitlines()[2]
    assert '| 1 of 2 | 80.00 % | 1.5 min, CPU | `python tools/train.py x.py` |' in row


@pytest.mark.parametrize(
    ('name', 'dataset', 'label'),
    [
        ('att56_digits', dict(type='ranet_mm.Digits'), 'Digits (scikit-learn)'),
        ('att56_cifar10', dict(type='CIFAR10'), 'CIFAR-10'),
        ('att56_cifar10-folder', dict(type='ranet_mm.ImageFolder', root='x/train'), 'CIFAR-10 (JPEG copy)'),
        ('att56_cifar100-folder', dict(type='ranet_mm.ImageFolder', root='x/cifar100_folder/train'), 'cifar100_folder'),
        ('att56_flowers', dict(type='ranet_mm.ImageFolder', root='x/flowers/train'), 'flowers'),
        ('att56_cifar10', dict(type='RepeatDataset', dataset=dict(type='CIFAR10')), 'CIFAR-10'),
    ],
)
def test_data_label(name, dataset, label):
    assert records.data_label(record(name=name, dataset=dataset)) == label


def test_seeds_in_the_command_do_not_part_runs(checkout):
    line = 'python tools/train.py x.py'
    seeded = f'{line} --work-dir y --cfg-options randomness.seed=1'
    save(checkout, a=record(seed=0, command=line), b=record(seed=1, command=seeded))
    *head, row = results_table(checkout).splitlines()
    assert len(head) == 2 and f'`{line}`' in row


def test_what_the_test_images_said_counts():
    run = record(top1=90.0)
    assert (records.score(run), records.images(run)) == (90.0, 'validation')
    run['test'] = {records.METRIC: 88.0}
    assert (records.score(run), records.images(run)) == (88.0, 'test')
    assert records.accuracy([run]) == '88.00 %'


GRID = """
title: What helps?
config: net.py
seeds: [0, 1]
published: report_table2
axes:
  (p, t, r):
    (1,2,1): {}
    (2,2,1): {model.backbone.p: 2}
"""
NETWORKS = """
  network:
    Attention-56: {}
    Attention-92: {model.backbone.arch: attention92_cifar}
"""


@pytest.fixture
def swept(checkout):
    """Writes a sweep file, and a record for each of its cells that `scores` names by labels and seed."""

    def write(text, **scores):
        path = checkout / 'configs/sweeps/study/grid.yml'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        folder = checkout / 'results/study'
        folder.mkdir(exist_ok=True)
        for cell in grid.load(path).cells():
            top1 = scores.get(f'{"".join(cell.labels.values())}/{cell.seed}')
            if top1:
                run = record(seed=cell.seed, top1=top1, parameters=1234, cpu_seconds=60.0, sweep=dict(jobs=1))
                run['curve'] = [p | dict(seconds=45.0 * p['epoch']) for p in run['curve']]
                (folder / f'{cell.key}.json').write_text(json.dumps(run))
        return checkout

    return write


def test_one_axis_is_a_list_with_costs_and_commands(swept):
    root = swept(GRID, **{'(1,2,1)/0': 50.0, '(1,2,1)/1': 52.0})
    header, _, first, second = sweep_table(root, '../', 'study/grid').splitlines()
    assert header.startswith('| (p, t, r) | Top-1 accuracy | Parameters | Seconds an epoch |')
    assert first.startswith('| (1,2,1) | 51.00 ± 1.41 % (seeds [0](../results/study/net_')
    assert "| 1,234 | 45.0 | 30.0 | `ranet sweep configs/sweeps/study/grid.yml --only '(p, t, r)=(1,2,1)'` |" in first
    assert second.startswith('| (2,2,1) | not run') and second.count('`') == 2


def test_two_axes_are_a_matrix_beside_what_is_published(swept):
    root = swept(GRID + NETWORKS, **{'(2,2,1)Attention-92/0': 90.0})
    header, _, first, second = sweep_table(root, '', 'study/grid').splitlines()
    assert header == '| (p, t, r) | Attention-56 | Attention-92 | Command |'
    assert first.startswith('| (1,2,1) | not run; report 79.30 | not run; report 85.10 |')
    assert '| not run; report 77.30 | 90.00 % (seeds [0](results/study/net_' in second


def test_sweeps_without_records_show_their_command(swept):
    root = swept(GRID)
    assert sweep_table(root, '', 'study/grid').startswith('No run is recorded yet; `ranet sweep ')
    text = tables.fill('<!-- experiments:begin -->\n<!-- experiments:end -->', root, '../')
    assert '| [study/grid](../configs/sweeps/study/grid.yml) | What helps? | 0 of 4 | `ranet sweep' in text


def test_a_folder_has_a_section_for_each_sweep_with_records(swept):
    root = swept(GRID, **{'(1,2,1)/0': 50.0})
    (root / 'configs/sweeps/study/rest.yml').write_text(GRID.replace('helps', 'else') + 'minutes: rest\n')
    text = tables.fill('<!-- study:begin -->\n<!-- study:end -->', root, '../')
    assert text.startswith('<!-- study:begin -->\n\n### What helps?\n\n| (p, t, r) | Top-1 accuracy |')
    assert 'What else?' not in text
    waiting = experiments_table(root)
    assert '[study/rest](configs/sweeps/study/rest.yml) | What else? | 0 of 4 |' in waiting
    assert '`ranet sweep configs/sweeps/study/rest.yml --max-minutes M`' in waiting


def test_a_sweep_with_all_its_records_waits_for_nothing(swept):
    root = swept(GRID, **{f'({p},2,1)/{seed}': 50.0 for p in (1, 2) for seed in (0, 1)})
    assert experiments_table(root) == 'Every run has its record.\n'


def test_curves_are_means_with_the_range_over_seeds(swept):
    root = swept(GRID, **{'(1,2,1)/0': 50.0, '(1,2,1)/1': 52.0})
    (series,) = plots.curves(root, 'study/grid', 'seconds')['series']
    assert series == dict(name='(1,2,1)', x=[45.0, 90.0], y=[50.0, 51.0], low=[49.0, 50.0], high=[51.0, 52.0])
    assert plots.curves(root, 'study/other', 'epoch') is None


def test_plots_are_written_once_and_redrawn_when_a_number_changes(swept, monkeypatch):
    pytest.importorskip('matplotlib')
    root = swept(GRID, **{'(1,2,1)/0': 50.0})
    monkeypatch.setattr(plots, 'PLOTS', {'plot.svg': partial(plots.curves, sweep='study/grid', against='epoch')})
    tables.main(['--root', str(root)])
    assert plots.current(root, 'plot.svg')
    before = (root / 'plot.svg').read_bytes()
    plots.write(root, 'plot.svg')
    assert (root / 'plot.svg').read_bytes() == before
    swept(GRID, **{'(1,2,1)/0': 51.0})
    assert tables.main(['--root', str(root), '--check']) == 1
    tables.main(['--root', str(root)])
    assert tables.main(['--root', str(root), '--check']) == 0
    assert (root / 'plot.svg').read_bytes() != before


def test_speed_is_drawn_against_what_was_varied_and_goes_with_its_record(checkout):
    pytest.importorskip('matplotlib')
    folder = checkout / 'results/speed'
    folder.mkdir(parents=True)
    found = [
        dict(
            name=f'a{n}', line='a', at=n, images=1, macs=n * 10**9, work_ratio=dict(median=n), over_bound=None,
            peak_mib=None, images_per_second=dict(median=10 / n, lowest=5 / n, highest=20 / n),
            ratio=dict(median=1, lowest=1, highest=1),
        )
        for n in (2, 1)
    ]  # fmt: skip
    one = dict(median=1, lowest=1, highest=1)
    run = dict(mode='forward', settings='s', hardware='h', arguments=dict(vary=['depth', '1', '2']), models=found)
    (folder / 'deep.json').write_text(json.dumps(dict(run, fits=[dict(name='a', exponent=one, work_exponent=None)])))
    (folder / 'forms.json').write_text(json.dumps(dict(run, fits=[])))
    (line,) = plots.speed(checkout, 'deep')['series']
    assert line == dict(name='a: exponent 1.00', x=[1, 2], y=[100, 200], low=[50, 100], high=[200, 400])
    assert plots.speed(checkout, 'forms')['rows'][1] == dict(name='a1', x=10, low=5, high=20)
    for stem in ('deep', 'forms'):
        plots.write(checkout, f'docs/plots/speed-{stem}.svg')
        assert plots.current(checkout, f'docs/plots/speed-{stem}.svg')
    assert '| depth: a | 1.00 (1.00 to 1.00) | - |' in speed_tables(checkout)
    assert '| a2 | 5.0 | 2.00 | 2.00 |' in speed_tables(checkout)
    (folder / 'deep.json').unlink()
    assert not plots.current(checkout, 'docs/plots/speed-deep.svg')
    plots.write(checkout, 'docs/plots/speed-deep.svg')
    assert not (checkout / 'docs/plots/speed-deep.svg').exists()


def test_parameters_are_plotted_beside_published_ones_only_where_test_images_were_read(checkout):
    folder = dict(type='ranet_mm.ImageFolder', root='data/cifar10_folder/train')
    seen = record(dataset=folder, parameters=7_202_794, test={records.METRIC: 92.0})
    save(checkout, a=seen, b=record(dataset=folder, parameters=1))
    series = {s['name']: s for s in plots.parameters(checkout)['series']}
    assert series['here, CIFAR-10 (JPEG copy)']['y'] == [92.0]
    assert series['Wang et al., Attention-92, 236, 452'] == dict(
        name='Wang et al., Attention-92, 236, 452', x=[1.9, 5.1, 8.6], y=[95.01, 95.86, 96.1], low=None, high=None
    )


def test_published_numbers_name_their_source():
    for name, source in records.published(ROOT).items():
        assert source.keys() <= {'source', 'title', 'short', 'plot', 'values'}, name
        assert source['source'] and source['short']
        assert all(50 < row['accuracy'] < 100 for row in source['values'])


def test_unknown_region_is_refused(tmp_path):
    with pytest.raises(
        ValueError,
        match="region 'flops' is not known: allowed are results, steps, models, configs, experiments, runs, speed",
    ):
        tables.fill('<!-- flops:begin -->\n<!-- flops:end -->', tmp_path)


MEASURED = 'attention', 'reliability', 'speed'  # folders of what is no run
RECORDS = [p for p in sorted((ROOT / 'results').rglob('*.json')) if p.parent.name not in MEASURED]


@pytest.mark.parametrize('path', RECORDS, ids=lambda p: p.stem)
def test_records_are_complete_and_portable(path):
    text = path.read_text()
    run = json.loads(text)
    assert run.keys() >= {'config', 'seed', 'commit', 'versions', 'hardware', 'data', 'epochs', 'seconds', 'curve'}
    known = (ROOT / run['config']).is_file(), Path(run['config']).stem in {*RENAMED, *GIVEN_UP}
    assert any(known)
    assert [p['epoch'] for p in run['curve']] == list(range(1, len(run['curve']) + 1))
    assert not re.search(r'"/\w', text), 'a record holds an absolute path'


@pytest.mark.parametrize('path', sorted((ROOT / 'results' / 'steps').glob('*.json')), ids=lambda p: p.stem)
def test_every_option_trained_with_a_finite_and_falling_loss(path):
    run = json.loads(path.read_text())
    losses = [point['loss'] for point in run['curve']]
    assert run['iteration'] == run['iterations'] >= 200
    assert all(math.isfinite(loss) for loss in losses)
    assert losses[-1] < losses[0]
