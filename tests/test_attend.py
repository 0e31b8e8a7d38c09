"""`ranet attend` and the hook that shows masks in training."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip('timm', reason='timm is not installed')
pytest.importorskip('matplotlib', reason='matplotlib is not installed')

import timm
from timm.data import create_transform, resolve_model_data_config

import ranet
from ranet_mm.attention import AttentionMaps
from ranet_mm.cli import attend
from ranet_mm.images import read as read_image
from ranet_mm.lab import shown
from ranet_mm.sheets import Seen, comparison, overview, pixels

DIGITS = ['--model', 'attention56_cifar.digits']


@pytest.fixture
def photo(tmp_path):
    def save(name='a.png', size=(48, 40), seed=0):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        return str(path)

    return save


def seen(names=('stages.0.1', 'stages.1.1'), size=32, **options):
    maps = AttentionMaps(*torch.rand(3, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0)))
    return Seen(torch.rand(3, size, size), dict.fromkeys(names, maps), [('cat', 0.75), ('dog', 0.25)], **options)


@pytest.mark.slow('sheets of whole networks, drawn')
@pytest.mark.parametrize('more', [[], ['--compare', '--channels', '3', '5'], ['--against', 'attention56_cifar.digits']])
def test_a_sheet_for_each_image(photo, capsys, more):
    paths = [photo('one/a.png'), photo('two/a.png', seed=1)]
    kind = more[0].strip('-') if more else 'attend'
    assert ranet.main(['attend', *paths, '--out', 'sheets', *DIGITS, *more]) == 0
    files = [f'sheets/a-{kind}.png', f'sheets/a-2-{kind}.png']
    assert capsys.readouterr().out.split() == files
    first, second = (np.asarray(Image.open(file).convert('RGB')) for file in files)
    assert first.shape == second.shape
    assert (first != second).any()
    assert ranet.main(['attend', *paths, '--out', 'sheets', *DIGITS, *more]) == 1
    assert '--overwrite replaces it' in capsys.readouterr().err
    assert ranet.main(['attend', *paths, '--out', 'sheets', *DIGITS, *more, '--overwrite']) == 0


def test_images_are_shown_as_in_predict(photo, tmp_path):
    path = photo()
    assert ranet.main(['predict', path, *DIGITS, '--runtime', 'eager', '--json', 'found.json']) == 0
    wanted = json.loads((tmp_path / 'found.json').read_text())['images'][0]['predictions']
    one = attend.look(attend.load(DIGITS[1], None), path, 'digits', 'cpu')
    assert [name for name, _ in one.guesses] == [guess['label'] for guess in wanted]
    assert [p for _, p in one.guesses] == pytest.approx([guess['probability'] for guess in wanted], rel=1e-4)


def test_the_picture_is_the_file_that_was_resized(photo):
    """Against timm's transform without normalization."""
    path, model = photo(), timm.create_model('attention56_cifar')
    transform = create_transform(**resolve_model_data_config(model) | dict(mean=(0, 0, 0), std=(1, 1, 1)))
    wanted = transform(Image.open(path))
    found = shown.undone(shown.reader(model, read_image)(path)[None], model)[0]
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize(('turned', 'chans'), [(False, 3), (True, 3), (False, 1)])
def test_normalization_of_a_pipeline_is_undone(turned, chans):
    image = torch.randint(0, 256, (1, 3, 8, 8)).float()
    image = image if chans == 3 else image[:, :1]
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
    given = dict(mean=[100.0] * chans, std=[50.0] * chans, to_rgb=turned)
    model = torch.nn.Identity()
    model.description = dict(pipeline=pipeline, data_preprocessor=given)
    read = image.flip(1)  # mmpretrain's loader gives BGR
    batch = shown.preprocess(read, model.description)
    torch.testing.assert_close(shown.undone(batch, model), (image / 255).expand(-1, 3, -1, -1), atol=1e-5, rtol=0)


def test_checkpoints_of_a_run(photo, tmp_path, capsys):
    model = timm.create_model('attention56_cifar', num_classes=2, width=0.125, modules=(1, 1, 1))
    about = dict(architecture='attention56_cifar', model_args=dict(width=0.125), pretrained_cfg=dict(num_classes=2))
    for name in [*(f'epoch_{n}' for n in range(1, 21)), 'best_accuracy_top1_epoch_20', 'interrupted']:
        path = tmp_path / 'run' / f'{name}.pth'
        path.parent.mkdir(exist_ok=True)
        path.touch()
    found = attend.checkpoints(tmp_path / 'run')
    assert [label for label, _ in found][::7] == ['epoch 1', 'epoch 20']
    assert len(found) == 8
    assert found[-1][1].name == 'epoch_20.pth'
    for _, path in found[1:]:
        path.unlink()
    for path in (tmp_path / 'run').glob('*.pth'):
        path.unlink()
    for name in ('epoch_2', 'epoch_10'):
        torch.save(dict(state_dict=model.state_dict(), meta=dict(ranet_mm=about)), tmp_path / 'run' / f'{name}.pth')
    argv = ['attend', photo(), '--run', 'run', '--out', 'sheets']
    assert ranet.main(argv) == 0, capsys.readouterr().err
    assert Image.open('sheets/a-run.png').width > 256 * 3


@pytest.mark.parametrize(
    ('argv', 'message'),
    [
        (['--channels', '3'], '--channels is not allowed without --compare'),
        (['--compare', '--channels', '999'], 'channel 999 is not allowed: module stages.0.1 has channels 0 to'),
        (['--size', '16'], '--size 16 is not allowed: it must be 32 or more'),
        (['--run', 'none'], "run 'none' does not exist"),
        (['--run', '.', '--checkpoint', 'a.pth'], '--run is not allowed besides --checkpoint'),
        (['--compare', '--against', 'attention92_cifar'], 'not allowed with argument'),
    ],
)
def test_wrong_command_lines(photo, capsys, argv, message):
    try:
        code = ranet.main(['attend', photo(), '--out', 'sheets', *DIGITS[: 2 * ('--run' not in argv)], *argv])
    except SystemExit as exit:
        code = exit.code
    assert code
    assert message in capsys.readouterr().err


def test_a_network_without_attention_is_refused(photo, capsys, monkeypatch):
    monkeypatch.setattr(attend, 'load', lambda *_: timm.create_model('resnet18'))
    assert ranet.main(['attend', photo(), '--out', 'sheets']) == 1
    assert 'it has no attention modules' in capsys.readouterr().err


def test_an_unreadable_image_costs_no_others_theirs(photo, capsys, tmp_path):
    (tmp_path / 'broken.png').write_bytes(b'none')
    assert ranet.main(['attend', 'broken.png', photo(), '--out', 'sheets', *DIGITS]) == 1
    done = capsys.readouterr()
    assert done.out.split() == ['sheets/a-attend.png']
    assert "image 'broken.png' cannot be read whole" in done.err
    assert 'the other 1 of 2 images are drawn' in done.err


def test_nothing_overlaps_and_nothing_leaves_the_page():
    """Whatever the number of modules, the length of names and the form of the image."""
    many = seen([f'stages.{i}.1' for i in range(20)], title='$x_1$' * 50, model='m' * 80)
    wide = Seen(torch.rand(3, 32, 64), seen().maps)
    for figure in (overview([many, seen()]), overview([wide]), comparison(seen(), [0, 1, 3])):
        boxes = [axes.get_position() for axes in figure.axes]
        assert all(0 <= b.x0 < b.x1 <= 1.001 and 0 <= b.y0 < b.y1 <= 1.001 for b in boxes)
        for number, a in enumerate(boxes):
            assert not any(a.overlaps(b) for b in boxes[:number])
        pixels(figure)
        renderer = figure.canvas.get_renderer()
        for text in figure.texts:
            box = text.get_window_extent(renderer)
            assert box.x0 >= 0
            assert box.x1 <= figure.bbox.x1 + 1


def test_pixels_show_the_map():
    """A mask that grows to the right is drawn from the dark end of the colors to the bright one."""
    maps = AttentionMaps(*(torch.linspace(0, 1, 8).expand(1, 1, 8, 8) for _ in range(3)))
    picture = pixels(overview([Seen(torch.zeros(3, 32, 32), {'stages.0.1': maps})])).astype(int)
    is_end = [np.abs(picture - color).sum(2) < 12 for color in ((68, 1, 84), (253, 231, 37))]  # of viridis
    left, right = (np.median(np.nonzero(found)[1]) for found in is_end)
    assert right - left > 150


# While training -----------------------------------------------------------------------------------------


def trained(write_config, tmp_path, more, name):
    runner = pytest.importorskip('mmengine.runner', reason='mmengine is not installed')
    pytest.importorskip('mmpretrain', reason='mmpretrain is not installed')
    cfg = pytest.importorskip('mmengine.config').Config.fromfile(write_config(more))
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.persistent_workers = False
    cfg.work_dir, cfg.experiment_name = str(tmp_path / name), name
    run = runner.Runner.from_cfg(cfg)
    run.train()
    return run.model.state_dict(), torch.get_rng_state(), np.random.get_state()[1].copy()


@pytest.mark.slow('two runs')
def test_the_hook_sends_masks_and_changes_nothing(write_config, tmp_path):
    hook = "custom_hooks = [*_base_.custom_hooks, dict(type='ranet_mm.MaskVisualizationHook', interval=2, images=2)]\n"
    short = 'train_cfg = dict(max_epochs=1)\ntrain_dataloader = dict(batch_size=3, num_workers=0, dataset=train)\n'
    plain, with_masks = (
        trained(write_config, tmp_path, short + more, name) for more, name in (('', 'plain'), (hook, 'masks'))
    )
    assert all(torch.equal(value, with_masks[0][name]) for name, value in plain[0].items())
    assert torch.equal(plain[1], with_masks[1])
    assert (plain[2] == with_masks[2]).all()
    lines = [json.loads(x) for f in (tmp_path / 'masks').rglob('scalars.json') for x in f.read_text().splitlines()]
    told = [line for line in lines if 'attention/stages.0.1/mean' in line]
    assert [line['step'] for line in told] == [2, 4]
    assert all(0 < line['attention/stages.2.1/mean'] < 1 for line in told)
    assert len([*(tmp_path / 'masks').rglob('attention_*.png*.png')]) == 4
    assert not [*(tmp_path / 'plain').rglob('attention_*')]


@pytest.mark.parametrize(('argument', 'value'), [('interval', 0), ('images', -1), ('reduce', 'median')])
def test_arguments_of_the_hook(argument, value):
    hooks = pytest.importorskip('ranet_mm.mm.engine.hooks', reason='OpenMMLab is not installed')
    with pytest.raises(ValueError, match=f'{argument}={value!r} is not allowed'):
        hooks.MaskVisualizationHook(**{argument: value})


@pytest.mark.slow('a run for each tracker')
def test_each_tracker_gets_masks_and_numbers(write_config, tmp_path, monkeypatch):
    """Weights & Biases offline, MLflow in files: as they come, fed by a run."""
    accumulator = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator', reason='no tensorboard')
    mlflow = pytest.importorskip('mlflow', reason='no mlflow')
    pytest.importorskip('wandb', reason='no wandb')
    store = f'file://{tmp_path}/mlruns'
    monkeypatch.setenv('MLFLOW_ALLOW_FILE_STORE', 'true')
    backends = [
        dict(type='TensorboardVisBackend'),
        dict(type='WandbVisBackend', init_kwargs=dict(mode='offline', project='masks')),
        dict(type='MLflowVisBackend', tracking_uri=store, tracked_config_keys=['work_dir']),
    ]
    more = (
        'train_cfg = dict(max_epochs=1)\n'
        "custom_hooks = [*_base_.custom_hooks, dict(type='ranet_mm.MaskVisualizationHook', interval=6, images=2)]\n"
        f"visualizer = dict(type='UniversalVisualizer', vis_backends={backends})\n"
    )
    trained(write_config, tmp_path, more, 'run')
    name, written = 'attention/stages.0.1/mean', tmp_path / 'run'
    (run,) = mlflow.search_runs(experiment_names=['Default'], output_format='list')
    assert 0 < run.data.metrics[name] < 1
    (events,) = written.rglob('events.out.tfevents.*')
    board = accumulator.EventAccumulator(str(events)).Reload()
    assert board.Scalars(name)[-1].value == pytest.approx(run.data.metrics[name])
    (log,) = written.rglob('run-*.wandb')
    assert name.encode() in log.read_bytes()
    for picture in ('attention_0.png', 'attention_1.png'):
        assert picture in board.Tags()['images']
        (kept,) = (tmp_path / 'mlruns').rglob(picture)
        (sent,) = log.parent.rglob(f'{picture}_*.png')
        assert (np.asarray(Image.open(kept)) == np.asarray(Image.open(sent))).all()
