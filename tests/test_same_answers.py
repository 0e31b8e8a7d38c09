"""`ranet predict` answers as `test` and mmpretrain's inferencer do, whatever the test pipeline is."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip('mmpretrain')
pytest.importorskip('timm')

import timm
from conftest import ROOT, make_config

from ranet_mm.cli import convert, export, predict, publish, test, train
from ranet_mm.mm import config as mm_config
from ranet_mm.weights import description, showing
from ranet_mm.weights.read import read, weights_of

PACK = dict(type='PackInputs')
OURS, THEIRS = dict(type='ranet_mm.LoadImage'), dict(type='LoadImageFromFile')
CV2, PILLOW = dict(backend='cv2', interpolation='bilinear'), dict(backend='pillow', interpolation='bicubic')
EDGE = [dict(type='ResizeEdge', scale=40, **PILLOW), dict(type='CenterCrop', crop_size=36)]
TURN = [dict(type='NumpyToPIL', to_rgb=True), dict(type='torchvision/Resize', size=36), dict(type='PILToNumpy')]
GIVEN = 'model.data_preprocessor'
GREY = dict(in_channels=1, mean=[100.0], std=[50.0])
# Of each: the pipeline, and what its config has besides.
CASES = dict(
    plain=([OURS], {}),
    resize_cv2=([OURS, dict(type='Resize', scale=(40, 36), **CV2)], {}),
    edge_crop_pillow=([OURS, *EDGE], {}),
    bgr_turned=([THEIRS, *EDGE], dict(to_rgb=True)),
    bgr=([THEIRS, dict(type='Resize', scale=36, **PILLOW)], {}),
    bgr_plain=([THEIRS], dict(to_rgb=True)),
    grey=([dict(THEIRS, color_type='grayscale'), *EDGE], GREY),
    pad=([OURS, dict(type='Resize', scale=(40, 40), keep_ratio=True), dict(type='Pad', size=(40, 40))], {}),
    normalized=([THEIRS, dict(type='Normalize', mean=[99.0, 88.0, 77.0], std=[50.0] * 3)], dict(mean=None, std=None)),
    raw=([OURS, dict(type='Resize', scale=36)], dict(mean=None, std=None)),
    torchvision=([THEIRS, *TURN, dict(type='CenterCrop', crop_size=36)], {}),
    divisible=([OURS], dict(pad_size_divisor=48, pad_value=3)),
    efficientnet=([OURS, dict(type='EfficientNetCenterCrop', crop_size=36, backend='pillow')], {}),
    floating=([dict(THEIRS, to_float32=True, imdecode_backend='pillow'), dict(type='Resize', scale=36)], {}),
    multi_label=([OURS], dict(head='MultiLabelLinearClsHead')),
)  # fmt: skip
SQUARE = [name for name in CASES if name in ('plain', 'bgr_plain', 'normalized', 'divisible', 'multi_label')]


def make_photos(folder, sides):
    """Smooth colours, each image of its own, by twos in {test}/{cat,dog}."""
    generator = np.random.default_rng(0)
    for split in ('train', 'test'):
        for number, (width, height) in enumerate(sides):
            pixels = generator.integers(0, 255, (5, 5, 3), dtype=np.uint8)
            path = folder / split / ('cat', 'dog')[number % 2] / f'{number}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC).save(path)
    return folder


class Made(NamedTuple):
    config: str
    checkpoint: str
    images: list[str]
    expected: np.ndarray


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """Of a case: its config file, a checkpoint such as a run writes, of random weights, and answers on test images."""
    folder = tmp_path_factory.mktemp('cases')
    folders = dict(square=[(32, 32)] * 4, wide=[(52, 44), (60, 80), (48, 48), (90, 50)])
    for name, sides in folders.items():
        make_photos(folder / name, sides)
    found = {}

    def make(case):
        if case not in found:
            found[case] = write(folder, folder / ('square' if case in SQUARE else 'wide'), *CASES[case])
        return found[case]

    return make


def write(folder, images, pipeline, options):
    from mmengine.registry import MODELS, init_default_scope

    options = dict(options)
    preprocessor = {k: options[k] for k in ('mean', 'std', 'to_rgb', 'pad_size_divisor', 'pad_value') if k in options}
    more = f"""
model['backbone']['in_channels'] = {options.get('in_channels', 3)}
model['data_preprocessor'] = dict(num_classes=2, mean=[120.0, 110.0, 90.0], std=[60.0, 55.0, 50.0], to_rgb=False)
model['data_preprocessor'].update({preprocessor})
model['head']['type'] = {options.get('head', 'ranet_mm.ResidualAttentionHead')!r}
model['head']['loss'] = dict(type='CrossEntropyLoss', use_sigmoid={'head' in options})
test_pipeline = {[*pipeline, PACK]}
test_dataloader['dataset']['pipeline'] = test_pipeline
"""
    if 'head' in options:
        more += "test_evaluator = dict(type='MultiLabelMetric', thr=0.5)\nmodel['head'].pop('topk', None)\n"
    path = make_config(folder, images, more)
    cfg = mm_config.read_config(path)
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    for module in model.modules():  # statistics that differ, and answers that are not all alike
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
        if isinstance(module, torch.nn.Linear):
            module.weight.data.normal_(0, 0.5)
    text = '\n'.join(f'{name} = {value!r}' for name, value in cfg.to_dict().items())  # a run's own takes a second
    meta = dict(cfg=text, dataset_meta=dict(classes=('cat', 'dog')))
    checkpoint = str(Path(path).with_suffix('.pth'))
    torch.save(dict(meta=meta, state_dict=model.state_dict()), checkpoint)
    cfg.test_dataloader.update(batch_size=1, persistent_workers=False, collate_fn=dict(type='default_collate'))
    files = sorted(map(str, (images / 'test').rglob('*.png')))
    return Made(path, checkpoint, files, by_runner(model.eval(), cfg.test_dataloader, files))


def predicted(checkpoint, images):
    """Probabilities (images, classes) that `ranet predict` writes."""
    assert predict.main([*images, '--checkpoint', str(checkpoint), '--json', 'found.json', '--batch-size', '3']) == 0
    found = {i['image']: {p['label']: p['probability'] for p in i['predictions']} for i in read_json()['images']}
    return np.array([[found[path][label] for label in ('cat', 'dog')] for path in images])


def read_json():
    return json.loads(Path('found.json').read_text())


@torch.no_grad()
def by_runner(model, loader, images):
    """Probabilities (images, classes) of what a runner's data loader and mmpretrain's classifier make of the images."""
    from mmengine.runner import Runner

    samples = [sample for data in Runner.build_dataloader(loader) for sample in model.test_step(data)]
    found = {sample.img_path: sample.pred_score.numpy() for sample in samples}
    return np.array([found[path] for path in images])


@pytest.mark.slow('a run of each way to show images')
@pytest.mark.parametrize('case', CASES)
def test_the_same_as_the_runner(case, made):
    _, checkpoint, images, expected = made(case)
    assert np.ptp(expected[:, 0]) > 1e-3  # images that tell a difference
    assert predicted(checkpoint, images) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize('case', ['edge_crop_pillow', 'bgr_turned'])
def test_the_same_as_the_inferencer(case, made):
    from mmpretrain import ImageClassificationInferencer

    config, checkpoint, images, _ = made(case)
    infer = ImageClassificationInferencer(config, pretrained=checkpoint, device='cpu')
    expected = np.stack([result['pred_scores'] for result in infer(images)])
    assert predicted(checkpoint, images) == pytest.approx(expected, abs=1e-4)


@pytest.fixture(scope='module')
def published(made, tmp_path_factory):
    """Of a case: what `publish` writes of its checkpoint, by ending."""
    found = {}

    def make(case):
        if case not in found:
            folder = tmp_path_factory.mktemp(f'published_{case}')
            assert publish.main([made(case)[1], str(folder / 'net')]) == 0
            found[case] = {path.suffix: str(path) for path in folder.iterdir()}
        return found[case]

    return make


@pytest.mark.parametrize('case', ['bgr', 'multi_label', 'grey', 'resize_cv2'])
def test_published_files_answer_as_the_checkpoint_they_come_from(case, made, published):
    images, expected = made(case)[2:]
    for path in published(case).values():
        assert predicted(path, images) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize('case', ['edge_crop_pillow', 'bgr_turned', 'bgr', 'multi_label', 'torchvision'])
def test_timm_shows_them_as_the_runner_does(case, made, published):
    images, expected = made(case)[2:]
    overlay = dict(file=made(case).checkpoint if case == 'bgr' else published(case)['.safetensors'])
    model = timm.create_model('attention56_cifar', pretrained=True, pretrained_cfg_overlay=overlay).eval()
    assert model.pretrained_cfg['label_names'] == ('cat', 'dog')
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    with torch.no_grad():
        logits = model(torch.stack([transform(Image.open(path)) for path in images]))
    found = logits.sigmoid() if case == 'multi_label' else logits.softmax(1)
    assert found.numpy() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize('case', CASES)
def test_what_timm_does_otherwise_is_named(case):
    by_cv2 = dict(resize_cv2='Resize by cv2', raw='Resize by cv2', floating='Resize by cv2', pad='Resize, Pad')
    assert showing.unsaid(dict(pipeline=CASES[case][0])) == by_cv2.get(case, '')


class TestTimm:
    """What a file says of images and classes, and what a call may say otherwise."""

    def load(self, path, **options):
        overlay = dict(file=path, **options.pop('overlay', {}))
        return timm.create_model('attention56_cifar', pretrained=True, pretrained_cfg_overlay=overlay, **options)

    def test_its_fields(self, published):
        cfg = self.load(published('edge_crop_pillow')['.pth']).pretrained_cfg
        assert cfg['input_size'] == (3, 36, 36)
        assert (cfg['crop_pct'], cfg['interpolation'], cfg['num_classes']) == (0.9, 'bicubic', 2)
        assert cfg['mean'] == pytest.approx((120 / 255, 110 / 255, 90 / 255))

    def test_a_checkpoint_of_training_says_the_same(self, made, published):
        fields = 'input_size', 'crop_pct', 'crop_mode', 'interpolation', 'mean', 'std', 'label_names', 'num_classes'
        ours, theirs = (self.load(path) for path in (made('resize_cv2')[1], published('resize_cv2')['.safetensors']))
        assert [ours.pretrained_cfg[f] for f in fields] == [theirs.pretrained_cfg[f] for f in fields]
        assert ours.pretrained_cfg['input_size'] == (3, 36, 40)
        assert ours.pretrained_cfg['crop_mode'] == 'squash'

    @pytest.mark.parametrize(
        ('asked', 'said'),
        [
            (dict(mean=(0.5, 0.5, 0.5)), r'mean=\(0.5, 0.5, 0.5\) in place of \(0.3529'),
            (dict(num_classes=7), 'num_classes=7 in place of 2'),
            (dict(label_names=('dog', 'cat')), r"label_names=\('dog', 'cat'\) in place of \('cat', 'dog'\)"),
        ],
    )
    def test_contradictions(self, published, asked, said):
        with pytest.raises(ValueError, match=f'are of other images or classes: {said}'):
            self.load(published('bgr')['.safetensors'], overlay=asked)

    def test_what_may_be_asked_for(self, published):
        path = published('bgr')['.safetensors']
        cfg = self.load(path, overlay=dict(input_size=(3, 48, 48), interpolation='nearest')).pretrained_cfg
        assert (cfg['input_size'], cfg['interpolation']) == ((3, 48, 48), 'nearest')
        anew = self.load(path, num_classes=5)
        assert (anew.num_classes, anew.pretrained_cfg.get('label_names')) == (5, None)
        assert self.load(path, in_chans=1).in_chans == 1
        assert self.load(published('grey')['.safetensors']).in_chans == 1

    def test_a_file_does_not_say_where_weights_are(self, tmp_path):
        about = dict(architecture='attention56_cifar', model_args={}, pretrained_cfg=dict(url='http://x', file='y'))
        assert not description.own_cfg(about)


class TestTest:
    """`test` with another config than the checkpoint's."""

    @pytest.mark.parametrize(
        ('case', 'change', 'said'),
        [
            ('plain', f'{GIVEN}.mean=[1,2,3]', 'data_preprocessor.mean=[1, 2, 3] in place of [120, 110, 90]'),
            ('plain', f'{GIVEN}.std=[1,2,3]', 'data_preprocessor.std=[1, 2, 3] in place of [60, 55, 50]'),
            (
                'bgr_plain',
                f'{GIVEN}.to_rgb=False',
                'data_preprocessor.to_rgb=False in place of True: channels in BGR order in place of RGB',
            ),
            ('multi_label', 'model.head.type=LinearClsHead', 'model.head for one label an image in place of several'),
        ],
    )  # fmt: skip
    def test_images_and_labels_are_those_of_the_checkpoint(self, case, change, said, made, published, capsys):
        config, checkpoint, *_ = made(case)
        path = published(case)['.pth'] if 'mean' in change else checkpoint
        assert test.main([config, path, '--work-dir', 'work', '--cfg-options', change]) == 1
        assert said in capsys.readouterr().err

    def test_another_resolution_is_told(self, made, capsys):
        config, checkpoint, *_ = made('edge_crop_pillow')
        more = 'test_dataloader.dataset.pipeline.1.scale=44', 'test_dataloader.dataset.pipeline.2.crop_size=40'
        assert test.main([config, checkpoint, '--work-dir', 'work', '--cfg-options', *more]) == 0
        (line,) = [line for line in capsys.readouterr().err.splitlines() if 'not shown as' in line]
        ours, theirs = line.split(' in place of ')
        assert 'scale=44' in ours and 'crop_size=40' in ours
        assert 'scale=40' in theirs and 'crop_size=36' in theirs

    def test_shipped_weights_say_their_normalization(self, write_config, capsys):
        more = """
model['backbone'].update(width=1, stem_pool=False, stem_stride=1)
model['head'].update(num_classes=10, in_channels=1024)
model['data_preprocessor'] = dict(mean=[1.0] * 3, std=[51.5865, 50.847, 51.255], num_classes=10)
"""
        config = write_config(more)
        assert test.main([config, 'ranet_mm://attention56_cifar.cifar10', '--work-dir', 'work']) == 1
        assert 'data_preprocessor.mean=[1, 1, 1] in place of [125.307, 122.961, 113.858]' in capsys.readouterr().err


@pytest.fixture(scope='module')
def epoch(tmp_path_factory):
    """A config and the checkpoint of an epoch of training with it."""
    folder = tmp_path_factory.mktemp('epoch')
    config = make_config(folder, make_photos(folder / 'images', [(32, 32)] * 4))
    assert train.main([config, '--work-dir', str(folder / 'run'), '--cfg-options', 'train_cfg.max_epochs=1']) == 0
    return config, str(folder / 'run/epoch_1.pth')


class TestTrain:
    """Training from a checkpoint with another normalization."""

    @pytest.fixture(autouse=True)
    def _change(self, epoch):
        self.changed = str(Path(epoch[0]).with_name('changed.py'))
        more = "model['data_preprocessor'] = dict(num_classes=2, mean=[1, 2, 3], std=[51.5865, 50.847, 51.255])\n"
        Path(self.changed).write_text(Path(epoch[0]).read_text() + more)

    @pytest.mark.slow('a run')
    def test_resumed_it_is_refused(self, epoch, capsys):
        assert train.main([self.changed, '--work-dir', 'run', '--resume', epoch[1]]) == 1
        assert 'data_preprocessor.mean=[1, 2, 3] in place of' in capsys.readouterr().err

    def test_fine_tuned_it_is_told(self, epoch, capsys):
        options = 'train_cfg.max_epochs=1', f'load_from={epoch[1]}'
        assert train.main([self.changed, '--work-dir', 'run', '--cfg-options', *options]) == 0
        told = [line for line in capsys.readouterr().err.splitlines() if 'in place of' in line]
        assert len(told) == 1
        assert 'images are not as the checkpoint knows them: data_preprocessor.mean=[1, 2, 3] in place of' in told[0]


class TestGetModel:
    def test_contradictions(self, made):
        from mmpretrain import get_model

        config, checkpoint, *_ = made('plain')
        assert get_model(config, pretrained=checkpoint)._dataset_meta['classes'] == ('cat', 'dog')
        for options, said in (
            (
                dict(data_preprocessor=dict(mean=[1, 2, 3])),
                r'data_preprocessor.mean=\[1, 2, 3\] in place of \[120, 110',
            ),
            (dict(head=dict(type='MultiLabelLinearClsHead')), 'several labels an image in place of one label'),
        ):
            with pytest.raises(ValueError, match=said):
                get_model(config, pretrained=checkpoint, **options)


class TestPredict:
    @pytest.mark.slow('a run')
    def test_images_of_several_sizes_and_a_hint(self, made, capsys):
        _, checkpoint, images, _ = made('plain')
        wide = made('edge_crop_pillow')[2]
        together = predicted(checkpoint, [*images, *wide])
        hint = capsys.readouterr().err
        assert hint == (
            'hint: 4 of 8 images are not of the 32x32 pixels that the network was trained with; '
            'they are classified at their own size, as in testing\n'
        )
        alone = [predicted(checkpoint, [path])[0] for path in wide]
        assert together[4:] == pytest.approx(np.array(alone), abs=1e-5)

    def test_labels_that_do_not_exclude_each_other_are_told(self, made, capsys):
        _, checkpoint, images, _ = made('multi_label')
        found = predicted(checkpoint, images)
        assert abs(found.sum(1) - 1).max() > 0.01
        assert capsys.readouterr().err == 'labels do not exclude each other: each has a probability of its own\n'

    def test_an_image_that_the_pipeline_fails_on_costs_no_other(self, made, capsys):
        _, checkpoint, images, _ = made('plain')
        Image.new('RGB', (3, 3)).save('tiny.png')
        assert predict.main([images[0], 'tiny.png', images[1], '--checkpoint', checkpoint]) == 1
        out, err = capsys.readouterr()
        assert "image 'tiny.png' cannot be shown to the network: " in err
        assert 'the other 2 of 3 images are predicted' in err
        assert images[1] in out

    @pytest.mark.parametrize(
        ('transform', 'said'),
        [
            (dict(type='os.system', command='touch ran'), "its transform 'os.system' is registered neither"),
            (dict(type='Mine'), "its transform 'Mine' is registered neither"),
            (dict(type='RandomApply', prob=1.0, transforms=[dict(type='subprocess.run')]), "'subprocess.run' is"),
            (dict(type='torchvision/ConvertImageDtype', dtype="float32 if open('ran', 'w') else 0"), 'dtype='),
            (dict(type='evil.Resize', scale=3), "its transform 'evil.Resize' is registered neither"),
        ],
    )
    def test_a_checkpoint_runs_no_code(self, transform, said, made, capsys):
        _, checkpoint, images, _ = made('plain')
        found = read(checkpoint)
        about = description.of_checkpoint(found, weights_of(found)[0])
        about['pipeline'] = [THEIRS, transform, PACK]
        torch.save(dict(state_dict=found['state_dict'], meta=dict(ranet_mm=about)), 'a.pth')
        assert predict.main([images[0], '--checkpoint', 'a.pth']) == 1
        out, err = capsys.readouterr()
        assert said in err
        assert not out and not Path('ran').exists()

    def test_the_path_of_a_registered_class_is_its_name(self):
        from ranet_mm.mm.data import foreign

        assert foreign.registered('mmcv.transforms.loading.LoadImageFromFile') == 'LoadImageFromFile'
        assert foreign.registered('mmpretrain.datasets.transforms.PackInputs') == 'PackInputs'
        assert foreign.registered('ranet_mm.mm.data.load_image.LoadImage') == 'ranet_mm.LoadImage'


def alone(argv, blocked):
    """A program in a process in which these packages are not installed."""
    code = f'import sys; sys.modules.update(dict.fromkeys({blocked!r})); import ranet; sys.exit(ranet.main({argv!r}))'
    return subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow('a process for each way to show images')
@pytest.mark.parametrize('case', ['plain', 'bgr_plain', 'edge_crop_pillow'])
def test_where_timm_alone_is_installed(case, made, published, tmp_path):
    images, expected = made(case)[2:]
    argv = ['predict', *images, '--checkpoint', published(case)['.safetensors'], '--json', str(tmp_path / 'found.json')]
    done = alone(argv, ['mmengine', 'mmcv', 'mmpretrain', 'cv2'])
    if case == 'edge_crop_pillow':
        assert re.search(
            r'pipeline \(ResizeEdge\(.*, CenterCrop\(.* needs mmpretrain, which is not installed', done.stderr
        )
        assert done.stderr.count('\n') == 1
    else:
        assert done.returncode == 0, done.stderr
        found = [{p['label']: p['probability'] for p in i['predictions']}['cat'] for i in read_json()['images']]
        assert found == pytest.approx(expected[:, 0], abs=1e-4)


class TestPassedOn:
    """A description goes through JSON, `convert` and `export`."""

    def test_json_keeps_it(self, made, published):
        found = read(made('bgr_turned')[1])
        about = description.of_checkpoint(found, weights_of(found)[0])
        assert json.loads(json.dumps(about)) == about
        assert read(published('bgr_turned')['.pth'])['meta']['ranet_mm'] == about
        assert [t['type'] for t in about['pipeline']] == ['LoadImageFromFile', 'ResizeEdge', 'CenterCrop', 'PackInputs']

    @pytest.mark.parametrize('target', ['openmmlab', 'timm'])
    @pytest.mark.parametrize('ending', ['.pth', '.safetensors'])
    def test_convert_keeps_it(self, target, ending, made):
        _, checkpoint, images, _ = made('bgr')
        out = f'a{ending}'
        assert convert.main([checkpoint, out, '--from', 'openmmlab', '--to', target]) == 0
        assert predicted(out, images) == pytest.approx(predicted(checkpoint, images), abs=1e-5)

    def test_export_needs_no_options(self, made):
        argv = ['attention56_cifar', 'a.pt', '--checkpoint', made('grey').checkpoint, '--sizes', '32']
        assert export.main(argv) == 0
        assert torch.jit.load('a.pt')(torch.rand(1, 1, 32, 32)).shape == (1, 2)

    @pytest.mark.slow('a run and an export')
    def test_onnx_says_what_it_is(self, made):
        onnx = pytest.importorskip('onnx')
        pytest.importorskip('onnxruntime')
        checkpoint = made('grey').checkpoint
        argv = ['attention56_cifar', 'a.onnx', '--checkpoint', checkpoint, '--static']
        assert export.main(argv) == 0
        written = onnx.load('a.onnx')
        assert written.graph.input[0].type.tensor_type.shape.dim[1].dim_value == 1
        said = json.loads({p.key: p.value for p in written.metadata_props}['ranet_mm'])
        assert said['pretrained_cfg']['label_names'] == ['cat', 'dog']
        assert said['pretrained_cfg']['mean'] == pytest.approx([100 / 255])
