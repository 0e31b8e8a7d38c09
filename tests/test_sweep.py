"""Sweeps: which cells there are, and that they are skipped, resumed, survived, stopped and packed as promised."""

import dataclasses
import fcntl
import functools
import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ranet_mm.cli import sweep
from ranet_mm.lab import cost, grid
from ranet_mm.mm import config as mm_config

ROOT = Path(__file__).parents[1]
SWEEPS = sorted((ROOT / 'configs/sweeps').glob('[!_]*/*.yml'))

# Stands in for tools/train.py: does what the option `act` says, and resumes as the real one does.
FAKE = """
import json, os, signal, sys, time
from pathlib import Path

options = dict(o.split('=', 1) for o in sys.argv[sys.argv.index('--cfg-options') + 1:])
folder = Path(sys.argv[3])
act = options.get('act', 'finish')
resumed = (folder / 'last_checkpoint').is_file()

def save(*_):
    (folder / 'last_checkpoint').write_text('x')
    print('error: interrupted')
    sys.exit(130)

def wait_for(path):
    while not path.exists():
        time.sleep(0.01)

signal.signal(signal.SIGTERM, save)
print('starting')
if act == 'fail' and not Path('mended').exists():
    sys.exit('error: this cell fails')
if act == 'stop' and not resumed:
    os.kill(os.getppid(), signal.SIGTERM)
if act in ('stop', 'endless') and not resumed:
    wait_for(Path('never'))
if act == 'alone':
    os.mkdir('busy')  # fails where another cell runs
    time.sleep(0.1)
    os.rmdir('busy')
if act.startswith('meets'):
    Path(f'{act}-{options["number"]}').touch()
    wait_for(Path(f'{act}-{3 - int(options["number"])}'))
if act != 'unfinished':
    curve = [{'epoch': 1, 'accuracy/top1': 50.0}]
    record = dict(iteration=1, iterations=1, curve=curve, resumed=resumed, threads=os.environ['OMP_NUM_THREADS'])
    if '--minutes' in sys.argv:
        record['minutes'] = float(sys.argv[sys.argv.index('--minutes') + 1])
    if act == 'untested':
        record['settings'] = dict(test_dataloader=dict(batch_size=1))
    (folder / 'record.json').write_text(json.dumps(record))
if act in ('late', 'untested') and not resumed:
    os.kill(os.getppid(), signal.SIGTERM)
    wait_for(Path('never'))
"""


@pytest.fixture(autouse=True)
def fake():
    Path('tools').mkdir()
    Path('tools/train.py').write_text(FAKE)
    Path('study').mkdir()
    Path('net.py').touch()
    sweep._images.cache_clear()


def write(name='grid', **fields):
    path = Path('study', f'{name}.yml')
    path.write_text(yaml.safe_dump(dict(config='net.py') | fields, sort_keys=False))
    return str(path)


def acts(*names, **fields):
    """A sweep file with one cell for each name, which does what its name says."""
    return write(axes=dict(act={name: dict(act=name) for name in names}), **fields)


def recorded():
    return {p.stem: json.loads(p.read_text()) for p in Path('results/study').glob('*.json')}


def only_record():
    (record,) = recorded().values()
    return record


class TestGrid:
    def test_first_seeds_come_first_then_files_then_axes(self):
        first = write('a', seeds=[0, 1], axes=dict(p={'1': {}, '2': dict(p=2)}, t={'x': {}, 'y': dict(t=3)}))
        second = write('b', seeds=[0], options=dict(q=1))
        found = [(c.grid, c.seed, *c.labels.values()) for c in grid.collect([first, second])]
        one = [('a', 0, '1', 'x'), ('a', 0, '1', 'y'), ('a', 0, '2', 'x'), ('a', 0, '2', 'y'), ('b', 0)]
        assert found == one + [('a', 1, *labels) for _, _, *labels in one[:4]]

    def test_the_same_run_of_two_files_is_one_cell(self):
        first = write('a', axes=dict(p={'1': {}, '2': dict(p=2)}))
        second = write('b', axes=dict(t={'plain': {}, 'more': dict(t=3)}))
        assert [c.title for c in grid.collect([first, second])] == [
            'study/a p=1 seed=0', 'study/a p=2 seed=0', 'study/b t=more seed=0'
        ]  # fmt: skip

    def test_a_value_may_change_the_config_and_a_base_gives_what_a_file_leaves_out(self):
        Path('other.py').touch()
        write('base', seeds=[3], options=dict(a=1, b=1), jobs=4)
        path = write('a', base='base.yml', options=dict(b=2), axes=dict(net={'other': dict(config='other.py')}))
        (cell,) = grid.collect([path])
        assert (cell.config, cell.options, cell.seed, cell.jobs) == ('other.py', dict(a=1, b=2), 3, 4)
        assert cell.key.startswith('other_') and cell.key.endswith('_seed3')

    def test_command(self):
        (cell,) = grid.collect([write(options={'model.p': 2, 'sizes': [1, [2, 3]], 'on': True, 'off': None})])
        assert cell.arguments(Path('runs')) == [
            'tools/train.py', 'net.py', '--work-dir', 'runs', '--resume', '--cfg-options', 'model.p=2',
            'sizes=[1,[2,3]]', 'on=True', 'off=None', 'randomness.seed=0',
        ]  # fmt: skip

    def test_keys_of_what_is_recorded_stay(self):
        files = (ROOT / 'configs/sweeps/small').glob('*.yml')
        keys = {cell.key for file in files for cell in grid.load(file).cells()}
        assert keys == {p.stem for p in (ROOT / 'results/small').glob('*.json')}

    def test_a_config_that_moves_keeps_its_key(self):
        base = f'_base_ = {str(ROOT / "configs/ranet/att56_digits.py")!r}\n'
        Path('net.py').write_text(base)
        Path('moved.py').write_text(base + "why = 'the same in other words'\ntrain_cfg = dict(max_epochs=14)\n")
        options = {'model.backbone.p': 2}
        (one,) = grid.collect([write(options=options)])
        (moved,) = grid.collect([write(config='moved.py', options=options)])
        (other,) = grid.collect([write(options={'model.backbone.p': 3})])
        (started,) = grid.collect([write(options=options | dict(load_from='w.pth'))])
        (later,) = grid.collect([write(options=options, seeds=[1])])
        (logged,) = grid.collect([write(options=options | {'default_hooks.logger.interval': 7})])
        assert one.key == moved.key == logged.key
        assert len({one.key, other.key, started.key}) == 3
        assert one.key.startswith('attention56_cifar_') and one.key.endswith('_seed0')
        assert later.key == one.key.replace('_seed0', '_seed1')

    def test_one_run_on_other_data_is_another(self):
        config = 'configs/ranet/att56_cifar10.py'
        switches = {}, dict(folder='data/cifar10_folder'), dict(wrong_labels=0.3), dict(on_device=True)
        cells = [grid.Cell('study', 'grid', config, options, {}, 0) for options in switches]
        assert len({cell.key for cell in cells}) == 4

    def test_minutes(self):
        values = {'all': {}, 'more': dict(minutes=12), 'left': dict(minutes='rest')}
        cells = grid.collect([write(minutes=7.5, axes=dict(time=values))])
        assert [c.minutes for c in cells] == [7.5, 12, 'rest'] and not any(c.options for c in cells)
        assert [c.arguments(Path('runs'), 1.23456)[5:7] for c in cells] == [
            ['--minutes', '7.5'], ['--minutes', '12'], ['--minutes', '1.235']
        ]  # fmt: skip
        (plain,) = grid.collect([write()])
        assert len({c.key for c in (plain, *cells)}) == 4 and '--minutes' not in plain.arguments(Path('runs'))
        assert grid.collect([write(minutes=12.0)])[0].key == cells[1].key

    def test_outside_a_checkout_the_installed_command_trains(self):
        Path('tools/train.py').unlink()
        (cell,) = grid.collect([write()])
        assert cell.arguments(Path('runs'))[:5] == ['-m', 'ranet', 'train', 'net.py', '--work-dir']

    def test_only(self):
        path = write(seeds=[0, 1], axes=dict(p={'1': {}, '2': dict(p=2)}, t={'x': {}, 'y': dict(t=3)}))
        chosen = grid.collect([path], ['p=1', 't=x', 't=y', 'seed=1'])
        assert [(c.seed, *c.labels.values()) for c in chosen] == [(1, '1', 'x'), (1, '1', 'y')]

    @pytest.mark.parametrize(
        ('fields', 'text'),
        [
            (dict(sedes=[0]), "field 'sedes' of 'study/grid.yml' is not known: allowed are base, title"),
            (dict(seeds=3), 'seeds=3 of .* it must be a list of whole numbers'),
            (dict(seeds=[]), 'seeds=.. of .* it must be a list of whole numbers'),
            (dict(jobs=0), 'jobs=0 of .* it must be 1 or more'),
            (
                dict(minutes=0),
                "minutes=0 of 'study/grid.yml' is not allowed: it must be a number above 0, or the word rest",
            ),
            (dict(minutes=math.inf), 'minutes=inf of .* it must be a number above 0'),
            (dict(minutes=True), 'minutes=True of .* it must be a number above 0'),
            (dict(axes=dict(p={'1': dict(minutes='all')})), "minutes='all' of .* it must be a number above 0"),
            (dict(axes=dict(p=[1, 2])), "axis 'p' of .* it must map the name of each value to the options it sets"),
            (dict(config='no.py'), "config file 'no.py' of study/grid does not exist"),
            (dict(base='no.yml'), "sweep file 'study/no.yml' does not exist"),
        ],
    )
    def test_wrong_files_are_refused_in_one_sentence(self, fields, text, capsys):
        assert sweep.main([write(**fields)]) == 1
        err = capsys.readouterr().err
        assert re.match(f'error: {text}', err) and err.count('\n') == 1

    def test_unknown_choice(self, capsys):
        assert sweep.main([write(axes=dict(p={'1': {}})), '--only', 'p=7']) == 1
        assert "error: --only 'p=7' is not allowed: it must be one of p=1" in capsys.readouterr().err


class TestRuns:
    def test_records_are_published_with_their_options_and_then_skipped(self, capsys):
        path = write(options=dict(a=1), seeds=[0, 1])
        assert sweep.main([path, '--threads', '3']) == 0
        out = capsys.readouterr().out
        assert '[2/2] done    study/grid seed=1: validation 50.00 in ' in out
        assert '2 of 2 cells done, 0 failed, 0 left' in out
        assert len(recorded()) == 2
        assert all(r['sweep'] == dict(options=dict(a=1), jobs=1) and r['threads'] == '3' for r in recorded().values())
        shutil.rmtree('work_dirs')
        assert sweep.main([path]) == 0
        assert not Path('work_dirs').exists()

    def test_a_failed_cell_stops_nothing_keeps_its_log_and_is_tried_again(self, capsys):
        path = acts('fail', 'finish')
        assert sweep.main([path]) == 1
        out = capsys.readouterr().out
        assert 'failed  study/grid act=fail seed=0: error: this cell fails; see work_dirs/sweeps/study/net_' in out
        assert '1 of 2 cells done, 1 failed, 0 left' in out
        (log,) = [p for p in Path('work_dirs').rglob('sweep.log') if 'this cell fails' in p.read_text()]
        Path('mended').touch()
        assert sweep.main([path]) == 0
        assert log.read_text().count('starting') == 2
        assert len(recorded()) == 2

    def test_a_run_without_a_finished_record_has_failed(self, capsys):
        assert sweep.main([acts('unfinished')]) == 1
        assert 'the run ended without a finished record.json' in capsys.readouterr().out
        assert not recorded()

    def test_after_a_signal_cells_write_checkpoints_and_the_next_call_goes_on(self, capsys):
        path = acts('stop', 'finish')
        assert sweep.main([path]) == 3
        assert '0 of 2 cells done, 0 failed, 2 left' in capsys.readouterr().out
        sweep.main([path, '--dry-run'])
        assert re.findall(r'^(cut|waiting) +study', capsys.readouterr().out, re.MULTILINE) == ['cut', 'waiting']
        assert sweep.main([path, '--only', 'act=stop']) == 0
        assert only_record()['resumed']

    def test_time_budget(self):
        path = acts('endless')
        codes = []
        while 0 not in codes and len(codes) < 20:
            codes.append(sweep.main([path, '--max-minutes', '0.02']))
        assert codes[0] == 3 and codes[-1] == 0
        assert only_record()['resumed']

    def test_a_run_that_was_over_when_it_was_stopped_is_done(self, capsys):
        assert sweep.main([acts('late', 'finish')]) == 3
        assert '1 of 2 cells done, 0 failed, 1 left' in capsys.readouterr().out
        assert not only_record()['resumed']

    def test_a_run_that_was_stopped_before_its_final_test_is_not(self):
        path = acts('untested')
        assert sweep.main([path]) == 3
        assert not recorded()
        assert sweep.main([path]) == 0
        assert only_record()['resumed']

    def test_the_rest_is_what_is_left_when_the_cell_starts(self):
        path = write(minutes='rest')
        assert sweep.main([path, '--max-minutes', '3']) == 0
        assert 2.5 < only_record()['minutes'] <= 2.75
        assert only_record()['sweep'] == dict(options={}, jobs=1, minutes='rest')
        assert sweep.main([path]) == 0  # nothing is left to do, whatever the time

    def test_the_rest_waits_where_it_is_too_short(self, capsys):
        path = write(axes=dict(time={'rest': dict(minutes='rest'), 'all': {}}))
        assert sweep.main([path, '--max-minutes', '1.2']) == 3
        out = capsys.readouterr().out
        assert 'waiting study/grid time=rest seed=0: less than 1 min is left' in out
        assert '1 of 2 cells done, 0 failed, 1 left' in out and 'minutes' not in only_record()

    def test_the_rest_needs_an_end(self, capsys):
        assert sweep.main([write(axes=dict(time={'all': {}, 'rest': dict(minutes='rest')}))]) == 1
        assert capsys.readouterr().err.startswith(
            'error: study/grid time=rest seed=0 takes the rest of the time: --max-minutes must say how much there is'
        )
        assert not Path('work_dirs').exists()

    def test_nothing_starts_without_time(self):
        assert sweep.main([write(), '--max-minutes', '1e-12']) == 3
        assert not Path('work_dirs').exists()

    def test_cells_share_the_machine_as_jobs_say(self):
        path = write(axes=dict(n={str(i): dict(act='meets', number=i) for i in (1, 2)}), jobs=2)
        assert sweep.main([path]) == 0
        assert {r['sweep']['jobs'] for r in recorded().values()} == {2}

    def test_one_at_a_time_otherwise(self):
        path = write(axes=dict(n={str(i): dict(act='alone', number=i) for i in range(4)}), jobs=4)
        assert sweep.main([path, '--jobs', '1']) == 0

    def test_a_cell_that_another_sweep_runs_is_left_alone(self, capsys):
        (cell,) = grid.collect([write()])
        folder = Path('work_dirs/sweeps/study', cell.key)
        folder.mkdir(parents=True)
        with (folder / 'sweep.lock').open('w') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            assert sweep.main([write()]) == 3
        assert 'is run by another sweep' in capsys.readouterr().out
        assert sweep.main([write()]) == 0

    def test_dry_run_lists_commands_and_starts_nothing(self, capsys):
        path = write(seeds=[0, 1])
        sweep.main([path, '--only', 'seed=1'])
        shutil.rmtree('work_dirs')
        capsys.readouterr()
        assert sweep.main([path, '--dry-run']) == 0
        out = capsys.readouterr().out
        assert re.findall(r'^(\w+) +study', out, re.MULTILINE) == ['waiting', 'done']
        assert out.count('python tools/train.py net.py --work-dir work_dirs/sweeps/study/net_') == 2
        assert out.endswith('1 of 2 cells done\n')
        assert not Path('work_dirs').exists()

    def test_dry_run_tells_seconds(self, capsys):
        pytest.importorskip('mmpretrain')
        data = dict(type='DeviceDataset', dataset=dict(type='ImageFolder', root='data/cifar10/train', holdout=10))
        Path('net.py').write_text(f'train_cfg = dict(max_epochs=20)\ntrain_dataloader = dict(dataset={data})')
        kind = {'train_dataloader.dataset.dataset.type': 'Digits'}
        values = {'done': {}, 'twice': {'train_cfg.max_epochs': 40}, 'timed': dict(minutes=8), 'unknown': kind}
        path = write(axes=dict(p={**values, 'wrong': dict(modle=1), 'rest': dict(minutes='rest')}))
        sweep.main([path, '--only', 'p=done'])
        capsys.readouterr()
        assert sweep.main([path, '--dry-run']) == 0
        head, *lines = capsys.readouterr().out.splitlines()
        assert head.startswith('Seconds of training at 10,000 or 20,000 images/s')
        assert [re.sub(r' \(.*', '', line.strip()) for line in lines[1:-1:3]] == [
            '90 or 45 s; up to here 0 s', '180 or 90 s; up to here 180 or 90 s', '480 s; up to here 660 or 570 s',
            '?', '?', 'the rest',
        ]  # fmt: skip
        assert "(option 'modle' of --cfg-options is not known" in lines[13]

    @pytest.mark.parametrize('option', ['--jobs', '--threads', '--max-minutes'])
    def test_wrong_options(self, option, capsys):
        with pytest.raises(SystemExit):
            sweep.main([write(), option, '0'])
        assert re.match(rf'error: {option} 0(\.0)? is not allowed: it must be above 0', capsys.readouterr().err)


@pytest.mark.parametrize(
    ('dataset', 'number'),
    [
        (dict(type='CIFAR10', holdout=10), 45_000),
        (dict(type='ranet_mm.CIFAR100', data_root='data/cifar100'), 50_000),
        (dict(type='ImageFolder', root='no/cifar10_folder/train', holdout=16, held_out=True), 3_120),
        (dict(type='ImageFolder', root='no/cifar100_folder/train', holdout=3), 33_400),
        (dict(type='ImageFolder', root='no/cifar10_folder/train', indices=640), 640),
        (dict(type='LabelNoise', dataset=dict(type='CIFAR10')), 50_000),
        (dict(type='ImageFolder', root='images/train', holdout=4), 10),
        (dict(type='ImageFolder', root='no/flowers'), None),
        (dict(type='RepeatDataset', times=2, dataset=dict(type='CIFAR10')), None),
    ],
)
def test_training_images_are_told_from_the_config(images, dataset, number):
    assert cost.samples(dataset) == number


@functools.cache
def plain(config):
    """A config as training gets it, without a cell's options."""
    from ranet_mm.cli import train

    return train.configure(train.parse_args([config]))


def configured(cell):
    from ranet_mm.cli import train

    arguments = dataclasses.replace(cell, minutes=None).arguments(Path('run'))
    return train.configure(train.parse_args(arguments[1:]))


def has(cfg, dotted):
    for name in dotted.split('.'):
        if isinstance(cfg, list):
            name = int(name)
        elif name not in cfg:
            return False
        cfg = cfg[name]
    return True


def features(backbone):
    """Channels of a backbone's last map."""
    import torch
    from mmpretrain.registry import MODELS

    if 'ranet_mm' in backbone.type:
        with torch.device('meta'):
            return MODELS.build(backbone).num_features
    return MODELS.build(backbone)(torch.zeros(1, 3, 32, 32))[-1].shape[1]


@pytest.mark.slow('builds the network of each cell')
@pytest.mark.parametrize('study', sorted({p.parent.name for p in SWEEPS}))
def test_committed_sweeps_are_runs_that_can_start(study, monkeypatch):
    """Every option changes a field that exists, and every head fits its network."""
    pytest.importorskip('mmpretrain')
    monkeypatch.chdir(ROOT)
    for cell in grid.collect([p for p in SWEEPS if p.parent.name == study], ['seed=0']):
        cfg = configured(cell)
        others = [o for o in cell.options if not o.startswith('model.backbone.')]  # building tells these
        others = [o for o in others if o not in mm_config.OPTIONAL_FIELDS]
        assert all(has(plain(cell.config), o) for o in others), cell.title
        assert '_delete_' not in json.dumps(cfg.to_dict()), cell.title  # it means nothing in a list
        assert features(cfg.model.backbone) == cfg.model.head.in_channels, cell.title


def test_the_small_study_never_reads_test_images(monkeypatch):
    pytest.importorskip('mmpretrain')
    monkeypatch.chdir(ROOT)
    for config in {c.config for c in grid.collect([p for p in SWEEPS if p.parent.name == 'small'])}:
        cfg = plain(config)
        assert cfg.test_dataloader is cfg.test_cfg is None
        assert '/test' not in json.dumps([cfg.train_dataloader.to_dict(), cfg.val_dataloader.to_dict()])


def test_nine_minutes_begin_with_cells_of_the_first_sweep(monkeypatch):
    monkeypatch.chdir(ROOT)
    folder = ROOT / 'configs/sweeps/gpu'
    *fast, last = grid.collect([folder / 'nine_minutes.yml'])
    first = grid.collect([folder / '01_fast.yml'], ['seed=0'])
    assert {c.key for c in fast} == {c.key for c in first} and last.minutes == 'rest'
    assert all(c.options['compile'] for c in grid.collect(folder.glob('*.yml')))
    rehearsal = grid.collect([ROOT / 'configs/sweeps/_base_/rehearsal.yml'])
    assert [c.minutes for c in rehearsal] == [None, None, 'rest']


@pytest.mark.slow('a run in a process of its own')
def test_a_real_cell(monkeypatch):
    """Digits for two iterations, through the real tools in a process of their own."""
    pytest.importorskip('mmpretrain')
    config = Path('tiny.py').resolve()
    config.write_text(
        f'_base_ = {str(ROOT / "configs/ranet/att56_digits.py")!r}\n'
        'model = dict(backbone=dict(width=0.125), head=dict(in_channels=128))\n'
        'train_dataloader = dict(batch_size=8, dataset=dict(indices=16))\n'
        'train_cfg = dict(max_epochs=1)\n'
    )
    file = Path('study/real.yml').resolve()
    file.write_text(yaml.safe_dump(dict(config=str(config), options={'optim_wrapper.optimizer.lr': 0.01}, seeds=[5])))
    records, runs = Path('results').resolve(), Path('runs').resolve()
    command = [sys.executable, '-m', 'ranet', 'sweep', str(file), '--records', str(records), '--work-dir', str(runs)]
    env = {**os.environ, 'OMP_NUM_THREADS': '1'}
    for _ in range(2):  # the second call has nothing to do
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert '1 of 1 cells done' in done.stdout
    record = only_record()
    assert (record['seed'], record['iteration'], record['sittings']) == (5, 2, 1)
    assert record['settings']['optim_wrapper']['optimizer']['lr'] == 0.01
    assert record['parameters'] > 1e5 and record['cpu_seconds'] > 0
