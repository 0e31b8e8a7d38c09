"""Every config loads, says what it is, holds images out of training, and takes a training step on made-up data."""

import ast
import re
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip('mmpretrain')

from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, PARAM_SCHEDULERS, DefaultScope
from mmpretrain.registry import MODELS, TRANSFORMS

from ranet_mm import ARCHS, resolve_arch
from ranet_mm.mm import config as mm_config
from ranet_mm.mm.renamed import GIVEN_UP, RENAMED

ROOT = Path(__file__).parents[1]
CONFIGS = {p.stem: p for p in sorted((ROOT / 'configs/ranet').glob('*.py'))}
NAME = re.compile(r'(?P<net>[a-z]+)(?P<depth>\d+)_(?P<data>[a-z0-9-]+)(?:_(?P<recipe>[a-z]+))?')
FAMILIES = dict(att='attention', attnext='attentionnext', attinception='attentioninception')
SETS = dict(digits='Digits', cifar10='CIFAR10', cifar100='CIFAR100', in1k='ImageNet')
EPOCHS = {
    'report': 20, 'fast': 20, 'best': 300, 'paper': (205, 106), 'modern': 300, None: 200,
    'progressive': 15, 'alternate': 15, 'annealed': 3,
}  # fmt: skip
SPECIAL = ('att56_digits',)  # its own epochs
ON_DEVICE = dict(folder='data/cifar10_folder', on_device=True)


@cache
def load(name):
    return Config.fromfile(CONFIGS[name])


def parts(name):
    return NAME.fullmatch(name).groupdict()


def dataset(loader):
    """The data set behind its wrappers."""
    found = loader.dataset
    while 'dataset' in found:
        found = found.dataset
    return found


every_config = pytest.mark.parametrize('name', CONFIGS)


def test_configs_that_users_expect():
    for data in ('cifar10', 'cifar100'):
        assert {f'att56_{data}', f'att92_{data}'} <= set(CONFIGS)
        for net in ('att56', 'att92'):
            found = mm_config.find_config(f'configs/ranet/{net}_{data}-folder.py').resolve()
            assert found == CONFIGS[f'{net}_{data}'].resolve()
    for recipe in ('report', 'fast', 'best', 'paper'):
        assert {f'att56_cifar10_{recipe}', f'att92_cifar10_{recipe}'} <= set(CONFIGS)
    for net in ('att128', 'att164', 'att236', 'att452'):
        assert f'{net}_cifar10_paper' in CONFIGS
        assert mm_config.read_config(f'ranet/{net}_in1k_paper').model.backbone.arch == f'attention{net[3:]}'
    assert len(CONFIGS) <= 40, 'what changes a network alone is said by an option'


@pytest.mark.parametrize('old', RENAMED)
def test_old_names_work_with_a_hint(old, capsys):
    new, options = RENAMED[old]
    found, expected = mm_config.read_config(f'ranet/{old}'), mm_config.read_config(f'ranet/{new}', options)
    assert found.to_dict() == expected.to_dict()
    error = capsys.readouterr().err
    assert error.count('\n') == 1
    assert error.startswith(f"hint: config 'ranet/{old}' is 'ranet/{new}' with --cfg-options ")


def test_options_of_old_names_reach_what_they_reached(capsys):
    deep = 'train_dataloader.dataset.dataset'
    options = {'wrong_labels': 0.5, f'{deep}.dataset.root': 'my/train', f'{deep}.seed': 7}
    data = mm_config.read_config('ranet/att56_cifar10-folder-noise-device_fast', options).train_dataloader.dataset
    assert (data.dataset.fraction, data.dataset.seed, data.dataset.dataset.root) == (0.5, 7, 'my/train')


@pytest.mark.parametrize('old', GIVEN_UP)
def test_a_recipe_that_was_given_up_says_where_it_is(old):
    with pytest.raises(
        FileNotFoundError, match=f"config 'ranet/{old}' has been given up for ranet/{GIVEN_UP[old]}: its row in docs"
    ):
        mm_config.find_config(f'configs/ranet/{old}.py')
    assert GIVEN_UP[old] in CONFIGS
    assert f'| `{old}` at ' in (ROOT / 'docs/results.md').read_text()


class TestSwitches:
    def test_all_at_once(self):
        options = dict(ON_DEVICE, wrong_labels=0.5, holdout=5)
        ordinary, cfg = load('att92_cifar10_best'), mm_config.read_config('ranet/att92_cifar10_best', options)
        noise = cfg.train_dataloader.dataset.dataset
        assert (noise.type, noise.fraction, noise.seed) == ('ranet_mm.LabelNoise', 0.5, 0)
        load_first = [dict(type='ranet_mm.LoadImage'), *ordinary.train_dataloader.dataset.pipeline]
        root = 'data/cifar10_folder/train'
        assert noise.dataset == dict(type='ranet_mm.ImageFolder', root=root, holdout=5, pipeline=load_first)
        assert cfg.val_dataloader.dataset.dataset == dict(
            type='ranet_mm.ImageFolder', root=root, holdout=5, held_out=True, pipeline=ordinary.test_pipeline
        )
        assert cfg.test_dataloader.dataset == dict(
            type='ranet_mm.ImageFolder',
            root='data/cifar10_folder/test',
            test_mode=True,
            pipeline=ordinary.test_pipeline,
        )
        samplers = [cfg[name].sampler.type for name in ('train_dataloader', 'val_dataloader', 'test_dataloader')]
        assert samplers == ['ranet_mm.EpochSampler', 'DefaultSampler', 'DefaultSampler']
        assert cfg.data_preprocessor == dict(ordinary.data_preprocessor, type='ranet_mm.DevicePreprocessor')

    def test_options_are_fields_of_the_file_with_and_without_them(self):
        options = {'train_dataloader.dataset.indices': 640, 'test_dataloader.dataset.root': 'my/test'}
        cfg = mm_config.read_config('ranet/att56_cifar10_fast', options | ON_DEVICE)
        assert cfg.train_dataloader.dataset.dataset.indices == 640
        cached = {'train_dataloader.dataset.cache': False, 'wrong_labels': 0.3}
        data = mm_config.read_config('ranet/att56_cifar10_fast', cached | ON_DEVICE).train_dataloader.dataset
        assert data.cache is False and 'cache' not in data.dataset.dataset
        assert cfg.test_dataloader.dataset.root == 'my/test'

    def test_a_config_that_was_written_by_a_run_is_left_as_it_is(self):
        cfg = mm_config.read_config('ranet/att56_cifar10_best', dict(ON_DEVICE, wrong_labels=0.3))
        cfg.dump('again.py')
        assert mm_config.read_config('again.py').to_dict() == cfg.to_dict()

    def test_neither_on_nor_off(self):
        with pytest.raises(ValueError, match="on_device='cuda' is not allowed: it must be True or False"):
            mm_config.read_config('ranet/att56_cifar10', dict(on_device='cuda'))

    def test_data_that_are_in_no_folder_are_refused(self):
        Path('fake.py').write_text(
            f'_base_ = {str(CONFIGS["att56_cifar10"])!r}\n'
            "train_dataloader = dict(dataset=dict(_delete_=True, type='FakeData'))\n"
        )
        with pytest.raises(ValueError, match="folder='x' is not allowed: the data set of train_dataloader has no spl"):
            mm_config.read_config('fake.py', dict(folder='x'))

    def test_they_are_off_in_a_file_that_mmengine_reads_by_itself(self):
        for name in CONFIGS:
            cfg = load(name)
            assert not cfg.get('folder') and not cfg.get('wrong_labels'), name
            assert bool(cfg.get('on_device')) == any(r in name for r in ('progressive', 'alternate', 'annealed')), name


@every_config
def test_header_gives_command_needs_and_cost(name):
    title, blank, *lines = ast.get_docstring(ast.parse(CONFIGS[name].read_text())).splitlines()
    assert title.endswith('.')
    assert blank == ''
    path = f'configs/ranet/{name}.py'
    commands = f'python tools/train.py {path}', f'tools/dist_train.sh {path} 8'
    assert lines[0] == f'Command: {commands["_in1k_" in name]}'
    assert [line.split(':')[0] for line in lines if not line.startswith(' ')] == ['Command', 'Needs', 'Cost']
    epochs = np.max(load(name).train_cfg.max_epochs)
    assert f'{epochs} epoch{"s" if epochs > 1 else ""} of ' in lines[-1]


@every_config
def test_name_tells_network_data_and_recipe(name):
    cfg, told = load(name), parts(name)
    backbone = cfg.model.backbone
    if told['net'] == 'resnet':
        assert (backbone.type, backbone.depth) == ('ResNet_CIFAR', int(told['depth']))
    else:
        suffix = '' if told['data'] == 'in1k' else '_cifar'
        assert backbone.arch == f'{FAMILIES[told["net"]]}{told["depth"]}{suffix}'
        assert backbone.arch in ARCHS
    assert cfg.train_dataloader.dataset.type == f'ranet_mm.{SETS[told["data"]]}'
    if name not in SPECIAL:
        assert cfg.train_cfg.max_epochs in np.atleast_1d(EPOCHS[told['recipe']])


def test_readme_lists_every_config():
    table = (ROOT / 'configs/ranet/README.md').read_text().split('<!-- configs:end -->')[0]
    assert set(re.findall(r'\((?:\.\./)*configs/ranet/(\S+)\.py\)', table)) == set(CONFIGS)


@every_config
def test_validation_is_on_training_images_held_out(name):
    cfg = load(name)
    train, test = dataset(cfg.train_dataloader), dataset(cfg.test_dataloader)
    place = {'root', 'split'} & {*train}
    assert len(place) == 1
    (place,) = place
    assert train[place].endswith('train')
    assert test[place].endswith(('test', 'val'))
    assert 'holdout' not in test
    assert train.get('held_out', False) is False
    assert train.holdout == cfg.holdout
    if cfg.val_dataloader is None:
        assert (train.holdout, cfg.val_cfg, cfg.val_evaluator) == (0, None, None)
        return
    val = dataset(cfg.val_dataloader)
    assert val.held_out
    same = ('type', place, 'data_root', 'holdout')
    assert [val.get(key) for key in same] == [train.get(key) for key in same]
    for evaluated in (val, test):
        assert not any('Random' in t.type for t in evaluated.pipeline)
    assert 'LabelNoise' not in str(cfg.val_dataloader) + str(cfg.test_dataloader)


@every_config
def test_one_option_trains_on_every_image(name):
    options = {'holdout': 0}
    cfg = mm_config.read_config(str(CONFIGS[name]), options)
    assert dataset(cfg.train_dataloader).holdout == 0
    assert (cfg.val_cfg, cfg.val_dataloader, cfg.val_evaluator) == (None, None, None)
    assert cfg.test_dataloader == load(name).test_dataloader


def test_another_part_can_be_held_out():
    cfg = mm_config.read_config(str(CONFIGS['att56_cifar10_fast']), {'holdout': 5, 'wrong_labels': 0.3, **ON_DEVICE})
    assert [dataset(loader).holdout for loader in (cfg.train_dataloader, cfg.val_dataloader)] == [5, 5]


@pytest.mark.parametrize('name', [n for n in CONFIGS if n.startswith('att92') and n.replace('92', '56') in CONFIGS])
def test_deeper_networks_change_the_network_alone(name):
    cfg, base = (load(n).to_dict() for n in (name, name.replace('92', '56')))
    assert cfg['model']['backbone'].pop('arch') != base['model']['backbone'].pop('arch')
    assert cfg == base


@every_config
def test_head_fits_backbone_and_data(name):
    cfg = load(name)
    head, backbone = cfg.model.head, cfg.model.backbone
    assert head.num_classes == cfg.data_preprocessor.num_classes
    widths = {18: 512, 50: 2048}
    if 'arch' in backbone:
        arch = resolve_arch(backbone.arch, width=backbone.get('width', 1))
        assert head.in_channels == arch.channels(arch.post_width)
    else:
        assert head.in_channels == widths[backbone.depth]


# One for each recipe, kind of data and kind of network; deeper networks inherit these.
STEPS = [
    n
    for n in CONFIGS
    if n.startswith(('att56_', 'attnext56_', 'attinception56_', 'resnet18_')) and 'alternate' not in n
]


@pytest.mark.parametrize('name', STEPS)
def test_one_training_step(name):
    cfg = Config.fromfile(CONFIGS[name])
    torch.manual_seed(0)
    np.random.seed(0)
    narrow(cfg)
    model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
    with DefaultScope.overwrite_default_scope(cfg.default_scope):  # as the runner does
        wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    before = [p.detach().clone() for p in model.parameters()]
    log = model.train_step(batch(cfg), wrapper)
    assert log['loss'].isfinite()
    moved = [not torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True)]
    assert sum(moved) > len(moved) / 2


def narrow(cfg):
    """An eighth of the full width; a quarter where groups of 32 need it."""
    share = 4 if cfg.model.backbone.get('arch', '').startswith('attentionnext') else 8
    if cfg.model.backbone.type == 'ResNet_CIFAR':
        cfg.model.backbone.update(stem_channels=8, base_channels=8)
    else:
        cfg.model.head.in_channels = ARCHS[cfg.model.backbone.arch].post_width
        cfg.model.backbone.update(width=1 / share, zero_init_last=False)  # zeros keep other layers from a gradient
    cfg.model.head.in_channels //= share


def batch(cfg):
    """Two noise images through the training pipeline; loading is left out."""
    found = dataset(cfg.train_dataloader)
    large = any(t.type == 'RandomResizedCrop' for t in found.pipeline)
    kind = np.float32 if found.pipeline[0].get('to_float32') else np.uint8
    with DefaultScope.overwrite_default_scope(cfg.default_scope):  # as the runner does
        pipeline = [TRANSFORMS.build(t) for t in found.pipeline if 'Load' not in t.type]
    samples = []
    for label in (3, 7):
        image = np.random.randint(256, size=(256, 256, 3) if large else (32, 32, 3)).astype(kind)
        sample = dict(img=image, gt_label=label)
        for transform in pipeline:
            sample = transform(sample)
        samples.append(sample)
    return {key: [sample[key] for sample in samples] for key in ('inputs', 'data_samples')}


@pytest.mark.parametrize('name', [n for n in CONFIGS if n.startswith('att56_cifar10')])
def test_pipelines_for_the_device_can_run_there(name, images):
    options = {'folder': str(images), 'on_device': True, 'train_dataloader.dataset.holdout': 0}
    cfg = mm_config.read_config(str(CONFIGS[name]), options).to_dict()
    built = DATASETS.build(cfg['train_dataloader']['dataset'])
    built.full_init()
    assert len(built) == 12
    more = dict(best=['TrivialAugmentWide', 'RandomErasing'], progressive=['Cutout'], alternate=['Cutout'])
    recipe = parts(name)['recipe']
    flip = 'AlternatingFlip' if recipe == 'alternate' else 'RandomFlip'
    kinds = ['RandomCrop', flip, *more.get(recipe, [])]
    assert [type(t).__name__ for t in built.transforms] == kinds
    assert MODELS.build(cfg['data_preprocessor']).to_onehot == name.endswith('best')


def rates(cfg, length):
    """The learning rate of each iteration, for epochs of `length` iterations."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], cfg.optim_wrapper.optimizer.lr)
    epochs, schedulers = cfg.train_cfg.max_epochs, []
    for scheduler in cfg.param_scheduler if isinstance(cfg.param_scheduler, list) else [cfg.param_scheduler]:
        options = dict(scheduler, optimizer=optimizer)
        kind = PARAM_SCHEDULERS.get(options.pop('type'))
        if options.pop('convert_to_iter_based', False):
            options.setdefault('end', epochs)
            schedulers.append(kind.build_iter_from_epoch(**options, epoch_length=length))
        else:
            schedulers.append(kind(**options))
    found = []
    for _ in range(epochs * length):
        found.append(optimizer.param_groups[0]['lr'])
        for scheduler in schedulers:
            scheduler.step()
    return np.array(found)


class TestRecipes:
    """The values that the documents claim."""

    def test_report(self):
        cfg = load('att56_cifar10_report')
        assert cfg.optim_wrapper.optimizer == dict(type='Adam', lr=1e-3)
        assert (cfg.train_dataloader.batch_size, cfg.train_cfg.max_epochs) == (128, 20)
        lr = rates(cfg, 20)
        assert lr.argmax() // 20 == 0
        assert lr[[0, 20, 399]] == pytest.approx([1e-5, 1e-3, 0], abs=1e-6)
        assert (np.diff(lr[20:]) <= 0).all()

    def test_fast(self):
        cfg = load('att56_cifar10_fast')
        sgd = dict(type='SGD', lr=0.4, momentum=0.9, weight_decay=5e-4, nesterov=True)
        assert cfg.optim_wrapper.optimizer == sgd
        assert cfg.train_dataloader.batch_size == 512
        assert cfg.model.head.loss == dict(type='LabelSmoothLoss', label_smooth_val=0.1, loss_weight=1.0)
        assert cfg.model.backbone.zero_init_last
        lr = rates(cfg, 20)
        assert lr[[0, 100, 399]] == pytest.approx([0.004, 0.4, 0], abs=1e-3)
        assert lr[250] == pytest.approx(0.2, abs=2e-3)

    def test_progressive(self):
        cfg = load('att56_cifar10_progressive')
        assert cfg.optim_wrapper.optimizer == dict(type='ranet_mm.Muon', lr=0.02, weight_decay=0.05)
        assert (cfg.train_dataloader.batch_size, cfg.train_cfg.max_epochs, cfg.holdout) == (256, 15, 0)
        assert cfg.custom_hooks[-1].sizes == [(0, 16), (6, 20), (9, 24), (12.5, 32)]
        lr = rates(cfg, 196)
        assert lr[[0, 196, 196 * 8, 196 * 15 - 1]] == pytest.approx([0.001, 0.02, 0.01, 0], abs=2e-5)

    def test_alternate(self):
        first, cfg = load('att56_cifar10_progressive'), load('att56_cifar10_alternate')
        same = 'model', 'optim_wrapper', 'param_scheduler', 'train_cfg', 'holdout', 'test_dataloader', 'default_hooks'
        assert [cfg[name] for name in same] == [first[name] for name in same]
        pipeline, before = (c.train_dataloader.dataset.pipeline for c in (cfg, first))
        assert pipeline[1] == dict(type='ranet_mm.AlternatingFlip')
        assert before[1].type == 'RandomFlip'
        assert (pipeline[:1], pipeline[2:]) == (before[:1], before[2:])
        assert cfg.custom_hooks[-1].sizes == [(0, 16), (4, 20), (7, 24), (11, 32)]
        assert cfg.custom_hooks[:-1] == first.custom_hooks[:-1]

    def test_annealed(self):
        first, cfg = load('att56_cifar10_alternate'), load('att92_cifar10_annealed')
        assert (cfg.model.backbone.arch, cfg.randomness.seed) == ('attention92_cifar', 1)
        assert cfg.train_dataloader == first.train_dataloader
        assert cfg.custom_hooks == first.custom_hooks[:-1]
        lr = rates(cfg, 196)
        assert lr[[0, 19, 294, 587]] == pytest.approx([0.0002, 0.00387, 0.002, 0], abs=2e-5)

    def test_resnet_by_the_recipe_of_attention(self):
        cfg = load('resnet18_cifar10_alternate')
        attention = load('att56_cifar10_alternate')
        resnet = load('resnet18_cifar10_fast').model
        assert (cfg.model.backbone, cfg.model.neck) == (resnet.backbone, resnet.neck)
        assert cfg.model.head == {**resnet.head, 'loss': attention.model.head.loss}
        other = [name for name in cfg if name != 'model']
        assert [cfg[name] for name in other] == [attention[name] for name in other]

    @pytest.mark.parametrize('name', ['att56_cifar10_fast', 'att56_cifar10_best', 'resnet18_cifar10_best'])
    def test_norms_and_biases_do_not_decay(self, name):
        cfg = Config.fromfile(CONFIGS[name])
        narrow(cfg)
        model = MODELS.build(cfg.model)
        groups = build_optim_wrapper(model, cfg.optim_wrapper).param_groups
        decays = {id(p): group['weight_decay'] for group in groups for p in group['params']}
        assert {(p.ndim > 1, decays[id(p)]) for p in model.parameters()} == {(True, 5e-4), (False, 0.0)}

    def test_best(self):
        cfg = load('att92_cifar100_best')
        sgd = dict(type='SGD', lr=0.2, momentum=0.9, weight_decay=5e-4, nesterov=True)
        assert cfg.optim_wrapper.optimizer == sgd
        assert (cfg.train_dataloader.batch_size, cfg.train_cfg.max_epochs) == (256, 300)
        mixing = cfg.data_preprocessor.batch_augments
        assert mixing.augments == [dict(type='Mixup', alpha=0.2), dict(type='CutMix', alpha=1.0)]
        assert mixing.probs == [0.25, 0.5]
        average = dict(type='EMAHook', ema_type='ranet_mm.ExponentialMovingAverage', momentum=5e-4, update_buffers=True)
        assert cfg.custom_hooks[-1] == average
        kinds = [t.type for t in cfg.train_dataloader.dataset.pipeline]
        assert {'torchvision/TrivialAugmentWide', 'RandomErasing'} <= set(kinds)
        lr = rates(cfg, 4)
        assert lr[[0, 20, 1199]] == pytest.approx([0.002, 0.2, 0], abs=1e-5)

    def test_paper_cifar(self):
        cfg = load('att452_cifar10_paper')
        sgd = dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=True)
        assert cfg.optim_wrapper.optimizer == sgd
        assert cfg.param_scheduler == dict(type='MultiStepLR', by_epoch=False, milestones=[64_000, 96_000], gamma=0.1)
        size = cfg.train_dataloader.batch_size
        assert size == 64
        assert cfg.train_cfg.max_epochs * -(-50_000 // size) == 160_310
        assert not cfg.model.backbone.zero_init_last
        assert cfg.model.head.loss.type == 'CrossEntropyLoss'

    def test_paper_imagenet(self):
        cfg = load('att92_in1k_paper')
        assert cfg.optim_wrapper.optimizer == dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4)
        assert cfg.param_scheduler.milestones == [200_000, 400_000, 500_000]
        size = 8 * cfg.train_dataloader.batch_size
        assert size == cfg.auto_scale_lr.base_batch_size == 256
        assert cfg.train_cfg.max_epochs * -(-1_281_167 // size) == 530_530
        kinds = [t.type for t in cfg.train_dataloader.dataset.pipeline]
        assert kinds == ['ranet_mm.LoadImage', 'RandomResizedCrop', 'RandomFlip', 'Lighting', 'PackInputs']

    def test_inception_reads_299_pixels(self):
        cfg = load('attinception56_in1k_paper')
        assert cfg.train_dataloader.dataset.pipeline[1].scale == 299
        for loader in (cfg.val_dataloader, cfg.test_dataloader):
            assert [loader.dataset.pipeline[i].get(k) for i, k in ((1, 'scale'), (2, 'crop_size'))] == [342, 299]

    def test_modern(self):
        cfg = load('att56_in1k_modern')
        assert cfg.optim_wrapper.optimizer == dict(type='Lamb', lr=5e-3, weight_decay=0.02)
        assert 8 * cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 2048
        assert cfg.train_dataloader.sampler == dict(type='RepeatAugSampler', shuffle=True)
        assert cfg.model.head.loss.use_sigmoid
        augments = [dict(type='Mixup', alpha=0.1), dict(type='CutMix', alpha=1.0)]
        assert cfg.data_preprocessor.batch_augments == dict(augments=augments)

    def test_label_noise(self):
        cfg = mm_config.read_config(str(CONFIGS['att92_cifar10_paper']), dict(wrong_labels=0.3))
        noise = cfg.train_dataloader.dataset
        assert (noise.type, noise.fraction, noise.seed) == ('ranet_mm.LabelNoise', 0.3, 0)
        assert noise.dataset == load('att92_cifar10_paper').train_dataloader.dataset

    def test_data_of_cifar100_are_the_same_everywhere(self):
        names = [n for n in CONFIGS if '_cifar100' in n]
        kept = ('num_classes', 'mean', 'std', 'to_rgb')
        assert len({str([load(n).data_preprocessor[k] for k in kept]) for n in names}) == 1
        assert all(load(n).test_evaluator.topk == load(n).val_evaluator.topk == (1, 5) for n in names)


def test_a_config_is_formatted_once(monkeypatch):
    from yapf.yapflib import yapf_api

    seen = []
    for module in (yapf_api, sys.modules['mmengine.config.config']):
        monkeypatch.setattr(module, 'FormatCode', lambda text, **_: (seen.append(text) or text, True), raising=False)
    mm_config.format_once()
    mm_config.format_once()
    texts = [Config(dict(a=a)).pretty_text for a in (1, 1, 2, 1)]
    assert len(seen) == 3
    assert texts == ['a=1', 'a=1', 'a=2', 'a=1']  # as the stand-in leaves them
