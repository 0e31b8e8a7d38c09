"""The command-line tools: training, resuming, evaluating, and one sentence for each wrong input."""

import contextlib
import io
import json
import os
import pickle
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import make_config, make_images

pytest.importorskip('mmpretrain')

from ranet_mm.cli import program, test, train
from ranet_mm.mm.engine import workdir
from ranet_mm.mm.engine.provenance import typed_command
from ranet_mm.weights.read import read as read_checkpoint

ROOT = Path(__file__).parents[1]
ENV = {**os.environ, 'OMP_NUM_THREADS': '1', 'TERM': 'xterm', 'COLUMNS': '100'}
PLAIN = """
train_dataloader['dataset']['pipeline'] = [dict(type='ranet_mm.LoadImage'), dict(type='PackInputs')]
"""
ITERATIONS = """
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=2)
val_cfg = val_dataloader = val_evaluator = param_scheduler = None
default_hooks['checkpoint'] = dict(by_epoch=False, save_best=None)
train_dataloader['sampler'] = dict(_delete_=True, type='InfiniteSampler', shuffle=True)
"""


def refused(capsys, program, *argv):
    """The one sentence with which a program refuses its command line."""
    capsys.readouterr()
    try:
        code = program.main([str(a) for a in argv])
    except SystemExit as stop:
        code = stop.code
    err = capsys.readouterr().err
    assert code not in (0, None)
    assert err.startswith('error: ')
    assert err.count('\n') == 1, err
    assert 'Traceback' not in err
    return err


def files(folder):
    """Every file below a folder, but for logs, with its content."""
    return {p: p.read_bytes() for p in Path(folder).rglob('*') if p.is_file() and '/20' not in str(p)}


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """A run that has ended: its config file, its work dir, and what it printed."""
    folder = tmp_path_factory.mktemp('finished')
    config = make_config(folder, make_images(folder / 'images'), PLAIN)
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as out:
        patch.chdir(folder)
        assert train.main([config, '--work-dir', 'run']) == 0
    return config, folder / 'run', out.getvalue()


@pytest.fixture
def run(finished):
    """The finished run's config file; a copy of its work dir is `run`."""
    config, folder, _ = finished
    shutil.copytree(folder, 'run')
    Path('run/last_checkpoint').write_text(str(Path('run/epoch_2.pth').resolve()))
    return config


def test_a_run_writes_checkpoints_and_a_complete_record(finished):
    config, folder, out = finished
    out = out.splitlines()
    assert re.match(
        r'Trained tiny\d+: epoch 2, loss \d\.\d+, validation accuracy \d+\.\d\d, test accuracy \d+\.\d\d, ', out[-2]
    )
    assert out[-1] == 'Written to run/: checkpoints and logs, record.json'
    assert len(out) <= 6
    record = json.loads((folder / 'record.json').read_text())
    assert [p['epoch'] for p in record['curve']] == [1, 2]
    assert {'loss', 'lr', 'seconds', 'accuracy/top1'} <= set(record['curve'][0])
    assert record['data']['train']['samples'] == record['data']['val']['samples'] == 12
    assert record['data']['train']['sha256'] != record['data']['val']['sha256']
    assert (record['iteration'], record['images'], record['sittings'], record['seed']) == (12, 24, 1, 0)
    assert record['config'] == Path(config).name
    assert record['versions']['torch'] == torch.__version__
    assert record['images_per_second'] > 0 < record['peak_memory_mib']
    assert record['settings']['model']['backbone']['arch'] == 'attention56_cifar'


@pytest.mark.parametrize(
    ('argv', 'command'),
    [
        (['tools/train.py', 'a b.py'], "python tools/train.py 'a b.py'"),
        (['/somewhere/bin/ranet', 'train', 'a.py'], 'ranet train a.py'),
    ],
)
def test_records_hold_the_command_as_typed(monkeypatch, argv, command):
    monkeypatch.delenv('LOCAL_WORLD_SIZE', raising=False)
    monkeypatch.setattr(sys, 'argv', argv)
    assert typed_command() == command


@pytest.mark.parametrize(
    ('arguments', 'command'),
    [
        ('a.py --resume', 'tools/dist_train.sh a.py 2 --resume'),
        ('--resume a.py', 'python tools/train.py --resume a.py --launcher pytorch'),
    ],
)
def test_of_several_processes_the_record_holds_the_command_that_started_them(monkeypatch, arguments, command):
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '2')
    monkeypatch.setattr(sys, 'argv', ['tools/train.py', *arguments.split(), '--launcher', 'pytorch'])
    assert typed_command() == command


class TestEvaluation:
    def test_test_tool(self, run, capsys):
        last = json.loads(Path('run/record.json').read_text())['curve'][-1]['accuracy/top1']
        before = files('run')
        capsys.readouterr()
        argv = [run, 'run/epoch_2.pth', '--work-dir', 'run']
        assert test.main([*argv, '--dump', 'scores.pkl', '--out', 'metrics.json', '--out-item', 'metrics']) == 0
        out = capsys.readouterr().out
        assert f'accuracy {last:.2f} on 12 images' in out
        assert 'scores.pkl, metrics.json' in out
        assert json.loads(Path('metrics.json').read_text())['accuracy/top1'] == pytest.approx(last, abs=1e-3)
        assert len(pickle.loads(Path('scores.pkl').read_bytes())) == 12
        assert files('run') == before

    def test_tta_averages_the_scores_of_an_image_and_its_mirror_image(self, run):
        argv = [run, 'run/epoch_2.pth', '--work-dir', 'other']
        assert test.main([*argv, '--tta', '--dump', 'tta.pkl']) == 0
        found = pickle.loads(Path('tta.pkl').read_bytes())[0]['pred_score']
        cfg = train.configure(train.parse_args([run]))
        assert torch.allclose(found, mean_score_of_mirrored(cfg, 'run/epoch_2.pth'), atol=1e-5)

    def test_amp_and_pictures(self, run, capsys):
        argv = [run, 'run/epoch_2.pth', '--work-dir', 'other', '--show-dir', 'shown', '--interval', '4']
        assert test.main([*argv, '--amp', '--no-pin-memory']) == 0
        assert 'on 12 images' in capsys.readouterr().out
        assert len(list(Path('shown').rglob('*.png'))) == 3


def mean_score_of_mirrored(cfg, checkpoint):
    from mmpretrain.registry import DATASETS, MODELS

    sample = DATASETS.build(cfg.test_dataloader.dataset)[0]
    model = MODELS.build(cfg.model).eval()  # its own preprocessor, which MMEngine puts before that of the whole config
    model.load_state_dict(torch.load(checkpoint, weights_only=False)['state_dict'])
    image = sample['inputs']
    batch = model.data_preprocessor(dict(inputs=[image, image.flip(-1)], data_samples=[sample['data_samples']] * 2))
    with torch.no_grad():
        return model(batch['inputs']).softmax(1).mean(0)


class TestInterruption:
    @pytest.mark.slow('a run beside the one that was made')
    def test_resumed_inside_an_epoch_ends_as_if_never_interrupted(self, run, monkeypatch, capsys):
        whole = read_checkpoint('run/epoch_2.pth')
        with monkeypatch.context() as patch:
            stop_after(patch, 8)
            assert train.main([run, '--work-dir', 'cut']) == 130
        assert '--resume' in capsys.readouterr().err
        assert read_checkpoint('cut/interrupted.pth')['meta']['iter'] == 8
        seen = watch(monkeypatch)
        assert train.main([run, '--work-dir', 'cut', '--resume']) == 0
        assert seen == list(range(2, 6))  # of the second epoch's batches
        resumed = read_checkpoint('cut/epoch_2.pth')
        assert resumed['meta']['iter'] == whole['meta']['iter'] == 12
        for key, value in whole['state_dict'].items():
            assert torch.equal(resumed['state_dict'][key], value), key
        assert not Path('cut/interrupted.pth').exists()
        records = [json.loads(Path(folder, 'record.json').read_text()) for folder in ('run', 'cut')]
        assert [r['sittings'] for r in records] == [1, 2]
        assert records[1]['settings']['load_from'] == 'cut/interrupted.pth'
        assert [r['images'] for r in records] == [24, 24]
        for a, b in zip(*(r['curve'] for r in records), strict=True):
            assert {**a, 'seconds': 0} == {**b, 'seconds': 0}

    def test_resumed_at_an_epochs_end_validates_that_epoch(self, run):
        folder = Path('moved')
        shutil.copytree('run', folder)
        (folder / 'last_checkpoint').write_text('/gone/epoch_1.pth')
        assert train.main([run, '--work-dir', 'moved', '--resume', 'auto']) == 0
        curve = json.loads((folder / 'record.json').read_text())['curve']
        assert ['accuracy/top1' in p for p in curve] == [True, True]


def stop_after(monkeypatch, iterations):
    """Send the process a SIGTERM during its n-th training step."""
    from mmpretrain.models import ImageClassifier

    steps = []

    def step(self, *args, **kwargs):
        steps.append(None)
        if len(steps) == iterations:
            signal.raise_signal(signal.SIGTERM)
        return original(self, *args, **kwargs)

    original = ImageClassifier.train_step
    monkeypatch.setattr(ImageClassifier, 'train_step', step)


def watch(monkeypatch):
    """The batch indices that training runs through, filled in as it runs."""
    from ranet_mm.mm.engine.loops import ResumableTrainLoop

    seen = []
    original = ResumableTrainLoop.run_iter
    monkeypatch.setattr(
        ResumableTrainLoop, 'run_iter', lambda self, idx, batch: (seen.append(idx), original(self, idx, batch))[1]
    )
    return seen


def test_the_rest_of_an_epoch_is_its_last_batches_from_a_loader_of_the_whole_length():
    from ranet_mm.mm.engine.loops import remaining

    loader = torch.utils.data.DataLoader(range(10), batch_size=3)
    lengths, batches = zip(*[(len(loader), batch.tolist()) for batch in remaining(loader, 2)], strict=True)
    assert batches == ([6, 7, 8], [9])
    assert lengths == (4, 4)
    assert [len(batch) for batch in loader] == [3, 3, 3, 1]


class TestWorkDir:
    @pytest.mark.slow('a run beside the one that was made')
    def test_run_of_another_config_is_kept(self, run, capsys):
        before = files('run')
        more = ['--cfg-options', 'optim_wrapper.optimizer.lr=0.5']
        err = refused(capsys, train, run, '--work-dir', 'run', *more)
        assert "work dir 'run' already holds a run of another config" in err
        assert '--overwrite' in err
        assert files('run') == before
        bad = ['--overwrite', '--cfg-options', 'train_dataloader.dataset.pipeline.1.type=Resizes']
        refused(capsys, train, run, '--work-dir', 'run', *bad)
        assert files('run') == before
        assert train.main([run, '--work-dir', 'run', '--overwrite', *more, 'train_cfg.max_epochs=1']) == 0
        assert {p.name for p in Path('run').glob('*.pth')} == {'epoch_1.pth'}

    @pytest.mark.slow('a run beside the one that was made')
    def test_the_same_config_and_another_number_of_workers_may_run_again(self, run):
        assert train.main([run, '--work-dir', 'run', '--no-validate', '--cfg-options', 'log_level=WARNING']) == 1
        assert train.main([run, '--work-dir', 'run', '--cfg-options', 'train_dataloader.num_workers=1']) == 0

    @pytest.mark.slow('a run beside the one that was made')
    def test_a_run_from_weights_is_another_run(self, run):
        """Known by what it started from, also when it was moved and went on from its own checkpoint since."""
        shutil.copy('run/epoch_2.pth', 'start.pth')
        from_weights = ['--cfg-options', 'load_from=start.pth', 'train_cfg.max_epochs=1', '--work-dir']

        def may_run(*argv):
            workdir.check(train.configure(train.parse_args([run, *argv])))

        with pytest.raises(FileExistsError, match="work dir 'run' already holds a run of another config"):
            may_run('--cfg-options', 'load_from=start.pth', '--work-dir', 'run')
        assert train.main([run, *from_weights, 'tuned']) == 0
        shutil.move('tuned', 'moved')
        assert train.main([run, '--cfg-options', 'train_cfg.max_epochs=2', '--work-dir', 'moved', '--resume']) == 0
        from_weights[2] = 'train_cfg.max_epochs=2'
        for path in ('start.pth', str(Path('start.pth').resolve())):
            may_run(*from_weights, 'moved', '--cfg-options', from_weights[2], f'load_from={path}')
        for other in ('load_from=moved/epoch_2.pth', from_weights[2]):
            with pytest.raises(FileExistsError):
                may_run('--work-dir', 'moved', '--cfg-options', from_weights[2], other)

    def test_a_replaced_record_is_gone_when_its_run_is(self, run, monkeypatch):
        stop_after(monkeypatch, 1)
        assert train.main([run, '--work-dir', 'run', '--overwrite']) == 130
        assert not Path('run/record.json').exists()

    def test_iterations_without_a_validation_are_recorded_too(self, run, capsys):
        """Over a run of epochs, which the summary took for this one."""
        config = make_config(Path.cwd(), Path(run).parent / 'images', PLAIN + ITERATIONS)
        assert train.main([config, '--work-dir', 'run', '--overwrite', '--debug']) == 0
        record = json.loads(Path('run/record.json').read_text())
        (point,) = record['curve']
        assert point['iteration'] == record['iteration'] == 2 and point['loss'] > 0 < point['seconds']
        tested = f'test accuracy {record["test"]["accuracy/top1"]:.2f}'
        assert f': iteration 2, loss {point["loss"]:.4f}, {tested}, ' in capsys.readouterr().out


class TestCheckpoints:
    def test_of_another_architecture(self, run, capsys):
        more = ['--cfg-options', 'model.backbone.arch=attention92_cifar']
        err = refused(capsys, test, run, 'run/epoch_2.pth', *more)
        assert 'missing: backbone.stages.1.2.pre.0.norm1.weight' in err
        assert "arch='attention92_cifar'" in err
        assert "arch='attention56_cifar'" in err
        err = refused(capsys, train, run, *more, 'load_from=run/epoch_2.pth')
        assert 'checkpoint does not fit the model' in err

    def test_fine_tuning_trains_another_head_anew(self, run, capsys):
        more = ['model.head.num_classes=5', 'train_cfg.max_epochs=1', 'load_from=run/epoch_2.pth']
        assert train.main([run, '--work-dir', 'tuned', '--cfg-options', *more]) == 0
        assert 'head.fc.weight is trained anew' in capsys.readouterr().err

    @pytest.mark.slow('a run beside the one that was made')
    def test_a_run_that_starts_from_another_tells_of_it_and_of_those_before(self, run):
        told = []
        for folder, start in (('second', 'run/epoch_2.pth'), ('third', 'second/epoch_1.pth')):
            more = ['train_cfg.max_epochs=1', f'load_from={start}']
            assert train.main([run, '--work-dir', folder, '--cfg-options', *more]) == 0
            told.append(json.loads(Path(folder, 'record.json').read_text()))
        first = json.loads(Path('run/record.json').read_text())
        keys = told[0]['earlier'][0].keys()
        assert {'command', 'commit', 'seed', 'epochs', 'seconds'} <= keys
        assert [r['command'] for r in told[1]['earlier']] == [first['command'], told[0]['command']]
        assert [(r['epochs'], r['images']) for r in told[1]['earlier']] == [
            (2, first['images']),
            (1, told[0]['images']),
        ]
        assert 'earlier' not in first

    def test_fine_tuning_on_grey_images_adapts_the_first_convolution(self, run):
        grey = """
model['backbone']['in_channels'] = 1
model['data_preprocessor'] = dict(num_classes=2, mean=[120.0], std=[60.0], to_rgb=False)
for loader in (train_dataloader, val_dataloader, test_dataloader):
    loader['dataset']['pipeline'] = [
        dict(type='ranet_mm.LoadImage'),
        dict(type='RandomGrayscale', prob=1.0, keep_channels=False),
        dict(type='PackInputs'),
    ]
"""
        config = make_config(Path.cwd(), Path(run).parent / 'images', grey)
        more = ['train_cfg.max_epochs=1', 'optim_wrapper.optimizer.lr=0', 'load_from=run/epoch_2.pth']
        assert train.main([config, '--work-dir', 'tuned', '--cfg-options', *more]) == 0
        before, after = (
            read_checkpoint(path)['state_dict']['backbone.stem.conv.weight']
            for path in ('run/epoch_2.pth', 'tuned/epoch_1.pth')
        )
        assert torch.allclose(after, before.sum(1, keepdim=True), atol=1e-6)

    @pytest.mark.parametrize('program', [train, test])
    def test_missing_or_damaged(self, write_config, capsys, program):
        config = write_config()
        Path('damaged.pth').write_bytes(b'PK\x03\x04 nothing')
        torch.save([1], 'list.pth')
        torch.save(dict(state_dict=dict(w=torch.ones(1)), code=Path('x')), 'code.pth')
        says = {
            'none.pth': "checkpoint 'none.pth' does not exist",
            'damaged.pth': "checkpoint 'damaged.pth' cannot be read",
            'list.pth': "checkpoint 'list.pth' holds no weights",
            'code.pth': 'pathlib',
        }
        for path, words in says.items():
            argv = [config, path] if program is test else [config, '--resume', path]
            assert words in refused(capsys, program, *argv)
        assert not Path('work_dirs').exists()

    def test_weights_alone_cannot_be_resumed(self, write_config, capsys):
        torch.save(dict(state_dict=dict(w=torch.ones(1))), 'weights.pth')
        err = refused(capsys, train, write_config(), '--resume', 'weights.pth')
        assert 'it has no meta, optimizer, message_hub' in err


BAD_OPTIONS = {
    'model.backbone.arch=resnet50': "arch='resnet50' is not known: allowed are attention56, ",
    'model.backbone.p=0': 'p=0 is not allowed: it must be ',
    'model.backbone.t=0': 't=0 is not allowed',
    'model.backbone.r=-1': 'r=-1 is not allowed',
    'model.backbone.depht=3': "'depht' is not an option of the network: allowed are modules, ",
    'model.backbone.in_channels=4': 'input of shape (2, 3, 32, 32) is not allowed: (N, 4, H, W) is expected',
    'train_dataloader.dataset.pipeline.1.crop_size=16': 'input of 16x16 pixels is not allowed',
    'trian_cfg.max_epochs=1': "option 'trian_cfg.max_epochs' of --cfg-options is not known",
    'model.head.num_classes=1': 'model.head has num_classes=1, but the data have 2 classes (cat, dog)',
    'train_dataloader.dataset.root=none': "data folder 'none' does not exist",
    'train_dataloader.dataset.root=.': 'has no images',
}


class TestBadInput:
    @pytest.mark.parametrize('option', BAD_OPTIONS)
    def test_options(self, write_config, capsys, option):
        err = refused(capsys, train, write_config(), '--work-dir', 'run', '--cfg-options', option)
        assert BAD_OPTIONS[option] in err
        assert not files('run')

    def test_images_that_make_no_batch(self, write_config, capsys):
        more = ['train_dataloader.batch_size=64', 'train_dataloader.drop_last=True']
        err = refused(capsys, train, write_config(), '--work-dir', 'run', '--cfg-options', *more)
        assert re.search(r'\d+ images make no batch of 64: lower train_dataloader.batch_size', err)
        assert not files('run')

    def test_command_line(self, write_config, capsys):
        assert "config file 'none.py' does not exist" in refused(capsys, train, 'none.py')
        assert '--cfg-options takes KEY=VALUE' in refused(capsys, train, 'none.py', '--cfg-options', 'model')
        assert 'unrecognized arguments: --rezume' in refused(capsys, train, 'none.py', '--rezume')
        assert '--out-item needs --out' in refused(capsys, test, 'none.py', 'x.pth', '--out-item', 'pred')
        assert '--show-dir does not go with --tta' in refused(
            capsys, test, 'none.py', 'x.pth', '--tta', '--show-dir', 'shown'
        )
        assert 'ends in one of .pkl, .pickle, .npz' in refused(capsys, test, 'none.py', 'x.pth', '--out', 'scores.json')

    def test_debug_shows_the_traceback(self):
        with pytest.raises(FileNotFoundError):
            train.main(['none.py', '--debug'])

    @pytest.mark.parametrize('workers', [0, 2])
    def test_truncated_image(self, write_config, images, capsys, workers, monkeypatch):
        monkeypatch.setattr(os, 'sched_getaffinity', lambda _: range(2))
        damaged = images / 'train/dog/3.png'
        damaged.write_bytes(damaged.read_bytes()[:1000])
        argv = ['--cfg-options', f'train_dataloader.num_workers={workers}']
        err = refused(capsys, train, write_config(), '--work-dir', 'run', *argv)
        assert f"image '{damaged}' cannot be read whole" in err


def test_sentence_drops_what_workers_and_registries_add():
    class_error = TypeError("class `Net` in ranet_mm/mm/net.py: 'x' is not an option")
    assert program.sentence(class_error) == "'x' is not an option"
    worker = ValueError(
        'Caught ValueError in DataLoader worker process 1.\nOriginal Traceback (most recent call last):\n'
        '  File "a.py", line 1, in b\nValueError: image: cannot\nbe read\n'
    )
    assert program.sentence(worker) == 'image: cannot be read'
    assert program.sentence(KeyError('X is not in the model registry. Please check more')) == (
        'X is not in the model registry'
    )
    assert program.sentence(ValueError()) == 'ValueError'


@pytest.mark.slow('processes, as a user starts them')
class TestProcesses:
    """The tools as a user starts them."""

    def test_one_live_line_on_a_terminal(self, write_config):
        code, out = in_terminal(['tools/train.py', write_config(), '--work-dir', 'run'])
        assert code == 0
        lines = [line for line in out.split('\n') if line.strip()]
        assert len(lines) == 4, lines  # headline, bar, summary, where
        states = [re.sub(r'\x1b\[[\d;?]*[a-zA-Z]', '', s).strip() for s in lines[1].split('\r')]
        state = r'epoch 2/2 \S+ +12/12 loss \d\.\d+ +accuracy \d+\.\d\d +[\d.]+ images/s +0:00 left'
        assert any(re.search(state, s) for s in states)

    def test_plain_lines_elsewhere(self, write_config):
        done = tool('train.py', write_config('custom_hooks = [dict(type="ranet_mm.ProgressHook", interval=0)]\n'))
        assert done.returncode == 0
        assert done.stderr == ''
        assert re.search(r'^epoch 1/2  3/12  loss \d\.\d+  [\d.]+ images/s  0:\d\d left$', done.stdout, re.M)

    def test_sigterm_with_workers(self, write_config):
        config = write_config("train_cfg['max_epochs'] = 500\ntrain_dataloader['num_workers'] = 2\n")
        command = [sys.executable, str(ROOT / 'tools/train.py'), config, '--work-dir', 'run']
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=ENV)
        wait_for(Path('run/epoch_1.pth'))
        process.send_signal(signal.SIGTERM)
        err = process.communicate(timeout=120)[1]
        assert process.returncode == 130
        assert re.match(r'error: interrupted .*; --resume goes on from the latest checkpoint\n$', err)


def tool(name, *argv):
    """Run a tool in a process of its own, without a terminal."""
    command = [sys.executable, str(ROOT / 'tools' / name), *argv]
    return subprocess.run(command, capture_output=True, text=True, env=ENV, check=False)


def in_terminal(argv):
    """Exit code and everything written, of a Python script whose output is a terminal."""
    controller, terminal = pty.openpty()
    command = [sys.executable, str(ROOT / argv[0]), *argv[1:]]
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=ENV)
    os.close(terminal)
    chunks = []
    while True:
        try:
            chunks.append(os.read(controller, 65536))
        except OSError:  # the last writer has closed the terminal
            break
    return process.wait(), b''.join(chunks).decode().replace('\r\n', '\n')


def wait_for(path, seconds=300):
    end = time.monotonic() + seconds
    while not path.is_file():
        assert time.monotonic() < end, f'{path} did not appear'
        time.sleep(0.2)
