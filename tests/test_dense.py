"""Detection and segmentation: every config builds, small ones train, and data that do not fit are refused."""

import ast
import importlib.util
import json
import re
from functools import cache
from pathlib import Path

import pytest
import torch

pytest.importorskip('mmengine')

from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner

from ranet_mm.cli import test, train
from ranet_mm.mm import config as mm_config
from ranet_mm.mm.data.shapes import CLASSES, ShapesCfg, make
from ranet_mm.mm.engine.hooks.channels_last import to_channels_last

ROOT = Path(__file__).parents[1]
CONFIGS = {p.stem: p for task in ('segmentation', 'detection') for p in sorted((ROOT / 'configs' / task).glob('*.py'))}
SMALL = {name: path for name, path in CONFIGS.items() if '_shapes' in name}
METHODS = dict(segmentation=('fcn', 'upernet', 'deeplabv3plus'), detection=('retinanet', 'faster-rcnn', 'mask-rcnn'))
MODULES = dict(segmentation='mmseg', detection='mmdet')
CHANNELS = dict(att56=(256, 512, 1024, 2048), att92=(256, 512, 1024, 2048))
NARROW = {'model.backbone.width': 0.125, 'model.backbone.init_cfg': None}


def find_spec(name):
    try:
        return importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return None


def params(configs):
    """Configs as parameters; those whose library is missing are skipped with what to do."""
    for name, path in configs.items():
        module = MODULES[path.parent.name]
        marks = [pytest.mark.skipif(find_spec(module) is None, reason=f'pip install {mm_config.LIBRARIES[module]}')]
        if module == 'mmdet':
            built = find_spec(mm_config.OPS) is not None
            marks.append(pytest.mark.skipif(not built, reason='tools/install_ops.sh builds them'))
        yield pytest.param(name, marks=marks, id=name)


every_config = pytest.mark.parametrize('name', params(CONFIGS))
every_small_config = pytest.mark.parametrize('name', params(SMALL))
segmentation_is_there = pytest.mark.skipif(find_spec('mmseg') is None, reason='pip install onedl-mmsegmentation')


@cache
def load(name):
    return mm_config.read_config(str(CONFIGS[name]))


def narrow(name):
    """A config's model at an eighth of the width, from scratch."""
    cfg = mm_config.read_config(str(CONFIGS[name]), dict(NARROW))
    model = cfg.model
    if 'neck' in model:
        model.neck.in_channels = [16, 32, 64, 128]
    else:
        head, auxiliary = model.decode_head, model.auxiliary_head
        head.in_channels = [16, 32, 64, 128] if isinstance(head.in_channels, list) else 128
        auxiliary.in_channels = 64
        if 'c1_in_channels' in head:
            head.c1_in_channels = 16
    return cfg


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    """A folder with the data that the small configs name."""
    folder = tmp_path_factory.mktemp('dense')
    make(folder / 'data/shapes', ShapesCfg(train=4, val=2, test=2))
    return folder


def test_configs_that_users_expect():
    for task, sets in dict(segmentation=('ade20k', 'voc12aug'), detection=('coco', 'voc')).items():
        for method in METHODS[task]:
            there = {p.stem for p in CONFIGS.values() if p.parent.name == task and p.stem.startswith(method)}
            wanted = sets if method != 'mask-rcnn' else sets[:1]  # VOC has no masks of single objects for detection
            assert {f'{method}_{net}_{data}' for net in ('att56', 'att92') for data in wanted} <= there
            assert f'{method}_att56_shapes' in there


@pytest.mark.parametrize('name', CONFIGS)
def test_header_gives_command_needs_and_cost(name):
    title, blank, *lines = ast.get_docstring(ast.parse(CONFIGS[name].read_text())).splitlines()
    assert title.endswith('.') and blank == ''
    path = CONFIGS[name].relative_to(ROOT).as_posix()
    processes = 4 if path.startswith('configs/segmentation') else 8
    command = f'python tools/train.py {path}' if name in SMALL else f'tools/dist_train.sh {path} {processes}'
    assert lines[0] == f'Command: {command}'
    assert [line.split(':')[0] for line in lines if not line.startswith(' ')] == ['Command', 'Needs', 'Cost']


@pytest.mark.parametrize('path', sorted((ROOT / 'results/dense').glob('*.json')), ids=lambda p: p.stem)
def test_record_reaches_its_mark_and_is_told_in_the_documents(path):
    run = json.loads(path.read_text())
    assert run['iteration'] == run['iterations'] and len(run['curve']) == run['epochs']
    segmentation = 'mIoU' in run['test']
    tested = run['test']['mIoU'] / 100 if segmentation else run['test']['coco/bbox_mAP_50']
    assert tested > (0.6 if segmentation else 0.5)
    page = ROOT / 'docs' / f'{CONFIGS[run["name"]].parent.name}.md'
    row = next(line for line in page.read_text().splitlines() if f'(../results/dense/{path.name})' in line)
    validated = run['curve'][-1]['mIoU' if segmentation else 'coco/bbox_mAP_50'] / (100 if segmentation else 1)
    assert f'| {100 * validated:.1f} | {100 * tested:.1f} |' in row
    assert f'| {run["cpu_seconds"] / 60:.0f} | [' in row


@pytest.mark.slow('builds each detector and segmentor')
@every_config
def test_model(name):
    """The backbone fits neck and heads, and heads tell the classes of the data; nothing is computed."""
    cfg = load(name).copy()
    init_default_scope(cfg.default_scope)
    cfg.model.backbone.init_cfg = None
    with torch.device('meta'):
        model = MODELS.build(cfg.model).eval()
        with torch.no_grad():
            maps = model.extract_feat(torch.empty(1, 3, 128, 128))
            if cfg.default_scope == 'mmseg':
                assert model.decode_head(maps).shape[1] == model.decode_head.num_classes
                assert model.auxiliary_head(maps).shape[1] == model.decode_head.num_classes
    stride = 8 if name.startswith(('fcn', 'deeplab')) else 32
    assert model.backbone.feature_info[-1]['reduction'] == stride
    if name not in SMALL:
        with torch.device('meta'):
            sizes = [m.shape[1] for m in model.backbone(torch.empty(1, 3, 64, 64))]
        assert tuple(sizes) == CHANNELS[name.split('_')[1]]
    header = re.search(r'([\d.]+) M parameters', CONFIGS[name].read_text())[1]
    assert header == f'{sum(p.numel() for p in model.parameters()) / 1e6:.1f}'


@every_small_config
def test_training_step(name, shapes, monkeypatch):
    """Losses are finite, and every weight of the backbone that takes part learns."""
    monkeypatch.chdir(shapes)
    cfg = narrow(name)
    cfg.train_dataloader.batch_size = 2
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).train()
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    batch = model.data_preprocessor(next(iter(loader)), training=True)
    total, losses = model.parse_losses(model(**batch, mode='loss'))
    assert torch.isfinite(total) and len(losses) > 2
    total.backward()
    idle = [n for n, p in model.backbone.named_parameters() if p.grad is None]
    assert not idle
    model.eval()
    with torch.no_grad():
        found = model.test_step(next(iter(Runner.build_dataloader(cfg.val_dataloader, seed=0))))
    assert len(found) == 2
    if cfg.default_scope == 'mmseg':
        assert found[0].pred_sem_seg.data.shape == (1, 64, 64)
    else:
        assert found[0].pred_instances.bboxes.shape[1] == 4


@pytest.mark.parametrize(
    ('name', 'changed'),
    [
        pytest.param(*p.values, changed, marks=p.marks, id=p.id)
        for p in params({n: SMALL[n] for n in ('retinanet_att56_shapes', 'mask-rcnn_att56_shapes')})
        for changed in ['retinanet' in p.id]
    ],
)
def test_memory_order_is_kept_from_operators_that_ignore_it(name, changed):
    cfg = narrow(name)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    to_channels_last(model)
    kernel = next(m for m in model.backbone.modules() if getattr(m, 'kernel_size', None) == (3, 3)).weight
    assert kernel.is_contiguous(memory_format=torch.channels_last) == changed
    assert kernel.is_contiguous() != changed


def run(command, *args):
    """A program's exit code."""
    return command.main([str(a) for a in args])


@pytest.mark.slow('runs of detection and segmentation')
@segmentation_is_there
def test_train_resume_and_test(shapes, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(shapes)
    config, work_dir = CONFIGS['upernet_att56_shapes'], tmp_path / 'run'
    options = ['--cfg-options', 'model.backbone.width=0.125', 'model.backbone.init_cfg=None']
    options += ['model.decode_head.in_channels=16,32,64,128', 'model.auxiliary_head.in_channels=64']
    options += ['train_dataloader.batch_size=2', 'param_scheduler.0.end=2']
    assert run(train, config, '--work-dir', work_dir, *options, 'train_cfg.max_epochs=1') == 0
    assert run(train, config, '--work-dir', work_dir, '--resume', *options, 'train_cfg.max_epochs=2') == 0
    assert 'validation aAcc' in capsys.readouterr().out
    record = json.loads((work_dir / 'record.json').read_text())
    assert [point['epoch'] for point in record['curve']] == [1, 2]
    assert all(0 <= point['mIoU'] <= 100 for point in record['curve'])
    assert 0 <= record['test']['mIoU'] <= 100
    pictures = tmp_path / 'pictures'
    more = ['--work-dir', tmp_path / 'test', '--show-dir', pictures]
    assert run(test, config, work_dir / 'epoch_2.pth', *more, *options) == 0
    assert len([*pictures.glob('*.png')]) == 2
    assert f'mIoU {record["test"]["mIoU"]:.2f}' in capsys.readouterr().out
    assert run(test, config, work_dir / 'epoch_2.pth', '--work-dir', tmp_path / 'test', '--tta', *options) == 0
    assert re.search(r'mIoU \d+\.\d\d .* on 2 images', capsys.readouterr().out)


def test_augmentation_at_test_time_is_refused_where_the_config_does_not_say_it():
    with pytest.raises(ValueError, match=r'^--tta is not allowed here: a config of mmdet needs a tta_model and a '):
        test.add_tta(Config(dict(default_scope='mmdet', tta_pipeline=[])))


@pytest.mark.slow('runs of detection and segmentation')
@segmentation_is_there
def test_iterations_make_a_curve_too(shapes, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(shapes)
    config = tmp_path / 'by_iterations.py'
    config.write_text(f"""
_base_ = {str(CONFIGS['upernet_att56_shapes'])!r}
model = dict(
    backbone=dict(width=0.125, init_cfg=None),
    decode_head=dict(in_channels=[16, 32, 64, 128]),
    auxiliary_head=dict(in_channels=64),
)
param_scheduler = None
train_dataloader = dict(batch_size=2, sampler=dict(type='InfiniteSampler'))
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=4, val_interval=2)
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=2))
""")
    assert run(train, config, '--work-dir', tmp_path / 'run') == 0
    record = json.loads((tmp_path / 'run/record.json').read_text())
    assert [point['iteration'] for point in record['curve']] == [2, 4]
    assert all('mIoU' in point and point['loss'] > 0 for point in record['curve'])
    out = capsys.readouterr().out
    assert 'iteration 2/4  loss' in out and 'iteration 4, loss' in out


class TestRefusals:
    """Bad data and missing libraries are one sentence each."""

    @pytest.fixture
    def mine(self, tmp_path):
        make(tmp_path / 'data/shapes', ShapesCfg(train=2, val=1, test=1))
        return tmp_path

    def refused(self, name, capsys, *options):
        start = [CONFIGS[name], '--work-dir', 'run', '--cfg-options', 'model.backbone.init_cfg=None']
        assert run(train, *start, *options) == 1
        assert not Path('run/record.json').exists()
        return capsys.readouterr().err

    @segmentation_is_there
    def test_missing_image(self, mine, capsys):
        (mine / 'data/shapes/VOCdevkit/VOC2012/JPEGImages/train_000001.jpg').unlink()
        error = self.refused('upernet_att56_shapes-voc', capsys)
        assert "image 'data/shapes/VOCdevkit/VOC2012/JPEGImages/train_000001.jpg' does not exist, but" in error
        assert "ImageSets/Segmentation/train.txt' names it: restore the file" in error

    @segmentation_is_there
    def test_missing_mask(self, mine, capsys):
        (mine / 'data/shapes/VOCdevkit/VOC2012/SegmentationClass/val_000000.png').unlink()
        assert "mask 'data/shapes/VOCdevkit/" in self.refused('upernet_att56_shapes-voc', capsys)

    @segmentation_is_there
    def test_other_number_of_classes(self, mine, capsys):
        error = self.refused('upernet_att56_shapes', capsys, 'model.decode_head.num_classes=3')
        assert 'model.decode_head has num_classes=3, but the data have 4 classes (background, circle, ' in error
        assert 'set model.decode_head.num_classes=4' in error

    @pytest.mark.parametrize('name', params({'retinanet_att56_shapes': CONFIGS['retinanet_att56_shapes']}))
    def test_coco_file_with_a_missing_image(self, mine, capsys, name):
        (mine / 'data/shapes/coco/val2017/val_000000.jpg').unlink()
        error = self.refused(name, capsys)
        assert "image 'data/shapes/coco/val2017/val_000000.jpg' does not exist, but annotation file" in error
        assert "instances_val2017.json' names it: restore the file, remove its entry" in error

    @pytest.mark.parametrize('name', params({'mask-rcnn_att56_shapes': CONFIGS['mask-rcnn_att56_shapes']}))
    def test_detection_head_with_other_classes(self, mine, capsys, name):
        error = self.refused(name, capsys, 'model.roi_head.mask_head.num_classes=80')
        assert 'model.roi_head.mask_head has num_classes=80, but the data have 3 classes (circle, square' in error

    @pytest.mark.parametrize('name', params({'retinanet_att56_shapes': CONFIGS['retinanet_att56_shapes']}))
    @pytest.mark.parametrize('renamed', [('disc',), ('disc', 'box', 'wedge')])
    def test_coco_file_without_a_class(self, mine, capsys, name, renamed):
        path = mine / 'data/shapes/coco/annotations/instances_train2017.json'
        listing = json.loads(path.read_text())
        for category, new in zip(listing['categories'], renamed, strict=False):
            category['name'] = new
        path.write_text(json.dumps(listing))
        error = self.refused(name, capsys)
        missing = ', '.join(map(repr, CLASSES[: len(renamed)]))
        assert f"has no category {missing}, which the data set's classes name: its categories are disc, " in error

    @pytest.mark.parametrize('module', ['mmdet', 'mmseg'])
    def test_library_is_not_installed(self, module, monkeypatch, capsys):
        real = importlib.util.find_spec
        hide = lambda name, *args: None if name.split('.')[0] == module else real(name, *args)  # noqa: E731
        monkeypatch.setattr(importlib.util, 'find_spec', hide)
        monkeypatch.setattr(mm_config, 'find_spec', hide)
        monkeypatch.setattr('mmengine.config.config.is_installed', lambda name: name not in (module, 'mmsegmentation'))
        name = dict(mmdet='retinanet_att56_coco', mmseg='fcn_att92_voc12aug')[module]
        error = self.refused(name, capsys)
        assert f'needs {module}, which is not installed: pip install {mm_config.LIBRARIES[module]}' in error
        assert str(CONFIGS[name]) in error

    @pytest.mark.skipif(find_spec('mmdet') is None, reason='pip install onedl-mmdetection')
    def test_mmcv_without_operators(self, monkeypatch, capsys):
        real = mm_config.find_spec
        monkeypatch.setattr(mm_config, 'find_spec', lambda name: None if name == mm_config.OPS else real(name))
        error = self.refused('retinanet_att56_shapes', capsys)
        assert "needs mmcv's compiled operators, which are not installed: run tools/install_ops.sh" in error
