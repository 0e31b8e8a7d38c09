"""Labels follow the names of classes: in tests, in training and validation, and where weights start another run."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_config
from PIL import Image

pytest.importorskip('mmpretrain')

import mmengine
from mmengine.config import ConfigDict
from mmengine.dataset import ClassBalancedDataset, ConcatDataset, RepeatDataset
from mmengine.registry import DATASETS
from mmengine.runner import CheckpointLoader
from mmpretrain.datasets import CustomDataset, KFoldDataset, MultiLabelDataset

from ranet_mm.cli import eval_metric, test, train
from ranet_mm.lab import predictions
from ranet_mm.mm.data import by_name
from ranet_mm.mm.data.by_name import wrapped
from ranet_mm.mm.data.datasets import Digits, ImageFolder
from ranet_mm.mm.data.device import DeviceDataset
from ranet_mm.mm.data.identity import data_name
from ranet_mm.weights.description import classes_of

COLOURS = dict(ant=(255, 0, 0), bee=(0, 255, 0), cow=(0, 0, 255), dog=(255, 255, 0))
PLAIN = """
load = dict(type='ranet_mm.LoadImage')
for loader in (train_dataloader, val_dataloader, test_dataloader):
    loader['dataset']['pipeline'] = [load, dict(type='PackInputs')]
model['head']['num_classes'] = 3
model['data_preprocessor'] = data_preprocessor = dict(num_classes=3)
"""


def draw(folder, names, number=2, size=32):
    """Images of one colour for each class, so that what a network says of a class is the same for all."""
    for name in names:
        for i in range(number):
            path = Path(folder, name, f'{i}.png')
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new('RGB', (size, size), COLOURS[name]).save(path)
    return str(folder)


def folder(path, names, **options):
    return ImageFolder(draw(path, names), **options)


def shown(dataset):
    """Pairs of the folder an image is in and the name of its label."""
    names = dataset.metainfo['classes']
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    return {(Path(info['img_path']).parent.name, names[info['gt_label']]) for info in infos}


class TestDataSets:
    CLASSES = ('dog', 'cow', 'bee', 'ant')

    @pytest.mark.parametrize('options', [dict(), dict(serialize_data=False), dict(lazy_init=True), dict(holdout=2)])
    def test_every_way_to_a_label_gives_the_name_of_the_folder(self, options):
        data = by_name.by_name(folder('a', ['ant', 'bee', 'cow'], **options), self.CLASSES)
        assert data.metainfo['classes'] == data.CLASSES == self.CLASSES
        assert shown(data) == {(name, name) for name in ('ant', 'bee', 'cow')}
        expected = [self.CLASSES.index(Path(data.get_data_info(i)['img_path']).parent.name) for i in range(len(data))]
        assert data.get_gt_labels().tolist() == [data[i]['gt_label'] for i in range(len(data))] == expected
        assert [data.get_cat_ids(i) for i in range(len(data))] == [[label] for label in expected]
        assert [data[i]['sample_idx'] for i in range(len(data))] == list(range(len(data)))
        assert pickle.loads(pickle.dumps(data)).get_gt_labels().tolist() == expected

    def test_the_same_names_change_nothing(self):
        data = folder('a', ['ant', 'bee'])
        before = data.data_bytes
        assert by_name.by_name(data, ['ant', 'bee']) is data
        assert by_name.by_name(data, ['ant', 'bee', 'cow']).data_bytes is before

    @pytest.mark.parametrize('kind', ['Repeat', 'Balanced', 'Concat', 'KFold', 'Device'])
    def test_inside_wrappers(self, kind):
        draw('a', ['ant', 'bee'])
        draw('b', ['bee', 'cow'])
        inner = [
            dict(type='ranet_mm.ImageFolder', root=root, pipeline=[dict(type='ranet_mm.LoadImage')]) for root in 'ab'
        ]
        cfg, classes = dict(
            Repeat=(dict(type=RepeatDataset, dataset=inner[0], times=2), ['ant', 'bee']),
            Balanced=(dict(type=ClassBalancedDataset, dataset=inner[0], oversample_thr=0.9), ['ant', 'bee']),
            Concat=(dict(type=ConcatDataset, datasets=inner), ['ant', 'bee', 'cow']),
            KFold=(
                dict(type=KFoldDataset, dataset=dict(inner[0], lazy_init=False), num_splits=2, seed=0),
                ['ant', 'bee'],
            ),
            Device=(dict(type=DeviceDataset, dataset=inner[0], cache=False), ['ant', 'bee']),
        )[kind]
        data = DATASETS.build(wrapped(ConfigDict(dataset=cfg), self.CLASSES).dataset)
        data.full_init()
        assert data.metainfo['classes'] == self.CLASSES
        found = shown(data)
        assert found and found <= {(name, name) for name in classes}
        if kind == 'Concat':  # whose parts have other classes, which MMEngine refuses to join
            assert found == {(name, name) for name in classes}
        if kind == 'Device':
            store = data.store
            assert [self.CLASSES[n] for n in store.labels] == [Path(o['img_path']).parent.name for o in store.origins]

    def test_several_labels_of_an_image(self):
        samples = [dict(img_path='a.png', gt_label=[0, 2]), dict(img_path='b.png', gt_label=[])]
        mmengine.dump(dict(metainfo=dict(classes=['ant', 'bee', 'cow']), data_list=samples), 'many.json')
        data = by_name.by_name(MultiLabelDataset('many.json'), self.CLASSES)
        assert [data.get_cat_ids(i) for i in range(2)] == [[3, 1], []]

    def test_labels_without_names_are_numbers_of_the_models_classes(self):
        draw('a', ['ant'])
        Path('a/list.txt').write_text('ant/0.png 3\nant/1.png 0\n')
        data = by_name.by_name(CustomDataset(data_root='a', ann_file='list.txt'), self.CLASSES)
        assert (data.get_gt_labels().tolist(), data.metainfo['classes']) == ([3, 0], self.CLASSES)
        with pytest.raises(ValueError, match=r"label 3 of data set CustomDataset in 'a' is not allowed: .* dog, cow$"):
            by_name.by_name(CustomDataset(data_root='a', ann_file='list.txt'), ['dog', 'cow'])

    def test_an_unknown_class_is_named(self):
        with pytest.raises(
            ValueError, match=r"class 'bee' of data set ImageFolder in 'a' is not known to the model, .* are ant, cow$"
        ):
            by_name.by_name(folder('a', ['ant', 'bee']), ['ant', 'cow'])

    def test_a_name_of_two_classes_says_nothing(self):
        with pytest.raises(ValueError, match='two classes of the model have the name'):
            by_name.by_name(folder('a', ['ant', 'bee']), ['bee', 'ant', 'ant'])

    def test_a_benchmark_keeps_its_name(self):
        data = by_name.by_name(Digits('test'), '9876543210')
        assert data.get_gt_labels().tolist() == (9 - Digits('test').get_gt_labels()).tolist()
        assert data_name(data, 'test') == 'Digits (scikit-learn)'


@pytest.mark.parametrize(
    ('meta', 'classes'),
    [
        (dict(dataset_meta=dict(classes=['a', 'b'])), ('a', 'b')),
        (dict(ranet_mm=dict(architecture='x', pretrained_cfg=dict(label_names=['a', 'b']))), ('a', 'b')),
        (dict(CLASSES=('a', 'b')), ('a', 'b')),  # of mmcls
        (dict(dataset_meta=dict(classes=[0, 1])), ('0', '1')),
        (dict(dataset_meta=dict(classes='names.txt')), ()),
        (dict(dataset_meta=dict(classes=7)), ()),
        (dict(ranet_mm=dict(architecture='x', model_args={})), ()),
        (None, ()),
    ],
)
def test_what_checkpoints_say_of_their_classes(meta, classes):
    assert classes_of(dict(state_dict={}, meta=meta)) == classes


def test_shipped_weights_say_their_classes():
    found = CheckpointLoader.load_checkpoint('ranet_mm://attention56_cifar.digits', 'cpu', 'silent')
    assert classes_of(found) == tuple('0123456789')


class TestNamesGivenToBenchmarks:
    def test_an_order_is_followed(self):
        data = Digits('test', metainfo=dict(classes=list('9876543210')))
        assert data.get_gt_labels().tolist() == (9 - Digits('test').get_gt_labels()).tolist()

    def test_numbers_of_a_command_line_are_names(self):
        data = Digits('test', metainfo=dict(classes=[9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 10]))
        assert data.get_gt_labels().tolist() == (9 - Digits('test').get_gt_labels()).tolist()

    def test_other_names_are_new_names(self):
        names = ('zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine')
        data = Digits('test', classes=names)
        assert data.get_gt_labels().tolist() == Digits('test').get_gt_labels().tolist()
        assert data.metainfo['classes'] == names

    @pytest.mark.parametrize('names', ['01', '012345678a', 'abc'])
    def test_names_for_some_are_refused(self, names):
        with pytest.raises(ValueError, match='is not allowed: the classes of Digits are 0, 1, 2, '):
            Digits('test', classes=list(names))


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A run on three classes of one colour each; the checkpoint's classifier is then made right for all of them."""
    home = tmp_path_factory.mktemp('named')
    for split in ('train', 'test'):
        draw(home / 'images' / split, ['ant', 'bee', 'cow'])
    config = make_config(home, home / 'images', PLAIN + 'train_cfg = dict(max_epochs=1)\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        assert train.main([config, '--work-dir', 'run']) == 0
    path = home / 'run/epoch_1.pth'
    checkpoint = torch.load(path, weights_only=False)
    fit(checkpoint, config, home)
    torch.save(checkpoint, path)
    return config, path


def fit(checkpoint, config, home):
    """Set the classifier to the one that least squares give for the features of the three colours."""
    from mmpretrain import get_model

    from ranet_mm.mm.config import read_config

    model = get_model(read_config(config), pretrained=False).eval()
    state = checkpoint['state_dict']
    model.load_state_dict(state)
    images = torch.stack([
        torch.from_numpy(np.array(Image.open(home / f'images/test/{name}/0.png'))).permute(2, 0, 1)
        for name in ('ant', 'bee', 'cow')
    ])  # fmt: skip
    with torch.no_grad():
        features = model.extract_feat(model.data_preprocessor(dict(inputs=list(images)))['inputs'])[-1].flatten(1)
    design = torch.cat([features, torch.ones(3, 1)], 1).double()
    solved = (torch.linalg.pinv(design) @ (20 * torch.eye(3).double())).float()
    state['head.fc.weight'], state['head.fc.bias'] = solved[:-1].T.contiguous(), solved[-1].contiguous()


def accuracy(config, checkpoint, capsys, *options):
    argv = [config, str(checkpoint), '--out', 'm.json', '--out-item', 'metrics', '--dump', 'scores.npz']
    code = test.main([*argv, *(['--cfg-options', *options] if options else [])])
    err = capsys.readouterr().err
    return err if code else json.loads(Path('m.json').read_text())['accuracy/top1']


class TestTesting:
    @pytest.mark.slow('a run, and tests of its checkpoint')
    def test_the_classes_of_training_in_another_order(self, trained, capsys):
        assert accuracy(*trained, capsys) == 100
        assert accuracy(*trained, capsys, 'test_dataloader.dataset.metainfo.classes=[cow,bee,ant]') == 100
        assert predictions.read('scores.npz').classes == ['ant', 'bee', 'cow']

    def test_a_folder_that_lacks_some(self, trained, capsys):
        root = draw('fewer', ['bee', 'cow'])
        Path('fewer/ant').mkdir()
        assert accuracy(*trained, capsys, f'test_dataloader.dataset.root={root}') == 100
        found = predictions.read('scores.npz')
        assert found.classes == ['ant', 'bee', 'cow'] and found.labels.tolist() == [1, 1, 2, 2]
        assert eval_metric.main(['scores.npz']) == 0
        assert (
            'macro averages are over the 2 of 3 classes that the images show; ant is absent' in capsys.readouterr().out
        )

    def test_a_folder_that_has_one_more(self, trained, capsys):
        root = draw('more', ['ant', 'bee', 'cow', 'dog'])
        err = accuracy(*trained, capsys, f'test_dataloader.dataset.root={root}')
        assert (
            "class 'dog' of data set ImageFolder in 'more' is not known to the model, whose classes are ant, b" in err
        )

    def test_initialization_by_a_whole_model_of_another_order_is_refused(self, trained, capsys):
        start = ['model.init_cfg.type=Pretrained', f'model.init_cfg.checkpoint={trained[1]}']
        order = 'train_dataloader.dataset.metainfo.classes=[cow,bee,ant]'
        assert train.main([trained[0], '--work-dir', 'start', '--cfg-options', *start, order]) == 1
        assert 'has the classes ant, bee, cow, and data set ImageFolder' in capsys.readouterr().err

    def test_initialization_by_a_whole_model_of_other_classes_is_told(self, trained, capsys):
        start = ['model.init_cfg.type=Pretrained', f'model.init_cfg.checkpoint={trained[1]}']
        root = draw('others', ['ant', 'bee', 'dog'])
        roots = [f'{name}_dataloader.dataset.root={root}' for name in ('train', 'val', 'test')]
        train.main([trained[0], '--work-dir', 'start', '--cfg-options', *start, *roots])
        assert 'the classifier starts from rows of other classes, ant, bee, cow' in ''.join(capsys.readouterr())

    def test_means_say_how_they_count(self, trained, capsys):
        root = draw('fewer', ['bee', 'cow'])
        more = "test_evaluator = dict(_delete_=True, type='SingleLabelMetric')\n"
        Path('single.py').write_text(f'_base_ = {trained[0]!r}\n{more}')
        argv = ['single.py', str(trained[1]), '--cfg-options', f'test_dataloader.dataset.root={root}']
        assert test.main(argv) == 0
        assert 'means over classes count 0 for those without images: ant' in capsys.readouterr().out

    @pytest.mark.slow('a run, and tests of its checkpoint')
    def test_a_checkpoint_that_says_nothing_goes_by_numbers(self, trained, capsys):
        torch.save(dict(state_dict=torch.load(trained[1], weights_only=False)['state_dict']), 'bare.pth')
        assert accuracy(trained[0], 'bare.pth', capsys) == 100
        classes = 'test_dataloader.dataset.metainfo.classes=[cow,bee,ant]'
        assert accuracy(trained[0], 'bare.pth', capsys, classes) == pytest.approx(100 / 3, abs=0.01)
        root = draw('more', ['ant', 'bee', 'cow', 'dog'])
        err = accuracy(trained[0], 'bare.pth', capsys, f'test_dataloader.dataset.root={root}')
        assert 'model.head has num_classes=3, but the data have 4 classes (ant, bee, cow, dog)' in err

    @pytest.mark.slow('a run, and tests of its checkpoint')
    def test_mmengines_own_runner_refuses(self, trained, capsys):
        Path('own.py').write_text(f"_base_ = {trained[0]!r}\nrunner_type = 'mmengine.Runner'\n")
        assert accuracy('own.py', trained[1], capsys) == 100
        err = accuracy('own.py', trained[1], capsys, 'test_dataloader.dataset.metainfo.classes=[cow,bee,ant]')
        assert '(cow, bee, ant) are not those of the checkpoint (ant, bee, cow): the order differs' in err

    @pytest.mark.slow('a run, and tests of its checkpoint')
    def test_lines_of_a_file_are_what_is_tested(self, trained, capsys):
        root = draw('listed', ['ant', 'bee', 'cow'])
        Path('listed/three.txt').write_text('cow/0.png 2\nant/1.png 0\nbee/0.png 1\n')
        options = f'test_dataloader.dataset.root={root}', 'test_dataloader.dataset.ann_file=three.txt'
        assert accuracy(*trained, capsys, *options) == 100
        assert [Path(p).parent.name for p in predictions.read('scores.npz').images] == ['cow', 'ant', 'bee']
        err = accuracy(*trained, capsys, options[0], 'test_dataloader.dataset.with_label=False')
        assert "data set ImageFolder in 'listed' has no labels (with_label=False)" in err


def refusal(capsys, *argv):
    capsys.readouterr()
    assert train.main([str(a) for a in argv]) == 1
    return capsys.readouterr().err


def test_a_pretext_task_needs_no_labels():
    from ranet_mm.mm.engine.hooks.checkpoint_guard import check_labels

    data = folder('a', ['ant'], with_label=False)
    check_labels(data, torch.nn.ModuleDict(dict(head=torch.nn.Linear(1, 1))))
    head = torch.nn.Linear(1, 1)
    head.num_classes = 3
    with pytest.raises(ValueError, match='has no labels'):
        check_labels(data, torch.nn.ModuleDict(dict(head=head)))


class TestTraining:
    @pytest.mark.slow('a run, and tests of its checkpoint')
    def test_resume_on_other_classes_is_refused(self, trained, capsys):
        options = ['--cfg-options', 'train_cfg.max_epochs=2']
        argv = [trained[0], '--work-dir', 'again', '--resume', trained[1], *options]
        for classes, reason in (('[cow,bee,ant]', 'the order differs'), ('[ant,bee,cow,dog]', "'dog' is not on both")):
            err = refusal(
                capsys, *argv, f'train_dataloader.dataset.metainfo.classes={classes}', 'model.head.num_classes=3'
            )
            assert 'are not those of the checkpoint (ant, bee, cow)' in err and reason in err

    def test_validation_and_the_last_test_follow_the_training_data(self, trained, capsys):
        """The run starts from weights that know all, and changes nothing of them."""
        root = draw('fewer', ['bee', 'cow'])
        more = f"""
_base_ = {trained[0]!r}
load_from = {str(trained[1])!r}
val_dataloader = dict(dataset=dict(root={root!r}))
test_dataloader = dict(dataset=dict(metainfo=dict(classes=['cow', 'bee', 'ant'])))
train_dataloader = dict(dataset=dict(metainfo=dict(classes=['bee', 'cow', 'ant'])))
optim_wrapper = dict(_delete_=True, type='OptimWrapper', optimizer=dict(type='SGD', lr=0.0))
param_scheduler = None
model = dict(backbone=dict(frozen_stages=4, norm_eval=True))
"""
        Path('tuned.py').write_text(more)
        assert train.main(['tuned.py', '--work-dir', 'tuned']) == 0
        record = json.loads(Path('tuned/record.json').read_text())
        assert 'head.fc.weight, head.fc.bias follow the names of the classes' in capsys.readouterr().err
        assert record['curve'][0]['accuracy/top1'] == record['test']['accuracy/top1'] == 100

    def test_a_classifier_of_other_classes_is_trained_anew(self, trained, capsys):
        draw('others', ['ant', 'bee', 'dog'])
        options = [f'load_from={trained[1]}', 'optim_wrapper.optimizer.lr=0']
        for split in ('train', 'val', 'test'):
            options += [f'{split}_dataloader.dataset.root=others']
        assert train.main([trained[0], '--work-dir', 'o', '--no-test', '--no-validate', '--cfg-options', *options]) == 0
        assert 'head.fc.weight, head.fc.bias are trained anew: the checkpoint' in capsys.readouterr().err
        before, after = (torch.load(p, weights_only=False)['state_dict'] for p in (trained[1], 'o/epoch_1.pth'))
        assert not torch.equal(before['head.fc.weight'], after['head.fc.weight'])

    @pytest.mark.slow('a run, and tests of its checkpoint')
    def test_validation_data_with_one_more_class(self, trained, capsys):
        draw('more', ['ant', 'bee', 'cow', 'dog'])
        options = ['--cfg-options', 'val_dataloader.dataset.root=more']
        assert "class 'dog' of data set ImageFolder in 'more'" in refusal(
            capsys, trained[0], '--work-dir', 'w', *options
        )
        Path('own.py').write_text(f"_base_ = {trained[0]!r}\nrunner_type = 'mmengine.Runner'\n")
        err = refusal(capsys, 'own.py', '--work-dir', 'w', *options)
        assert "'dog' is not on both sides" in err and 'are not those of the data to train on (ant, bee, cow)' in err

    @pytest.mark.parametrize(
        'wrapper', ['', 'RepeatDataset', 'ranet_mm.LabelNoise', 'ClassBalancedDataset', 'ConcatDataset']
    )
    def test_a_head_with_fewer_classes_is_refused_before_the_first_step(self, trained, capsys, wrapper):
        draw('more', ['ant', 'bee', 'cow', 'dog'])
        more = f"_base_ = {trained[0]!r}\ninner = dict(_base_.train_dataloader.dataset, root='more')\n"
        options = dict(RepeatDataset='times=1', ClassBalancedDataset='oversample_thr=0.1').get(wrapper, 'fraction=0.5')
        inside = 'datasets=[inner]' if wrapper == 'ConcatDataset' else f'dataset=inner, {options}'
        dataset = f'dict(_delete_=True, type={wrapper!r}, {inside})' if wrapper else 'dict(inner, _delete_=True)'
        more += f'train_dataloader = dict(dataset={dataset})\n'
        if not wrapper:  # by iterations too, whose loop is MMEngine's own
            more += """
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=2)
val_cfg = val_dataloader = val_evaluator = param_scheduler = None
default_hooks = dict(checkpoint=dict(by_epoch=False, save_best=None))
"""
        Path('w.py').write_text(more)
        err = refusal(capsys, 'w.py', '--work-dir', 'w', '--no-validate', '--no-test')
        assert 'model.head has num_classes=3, but the data have 4 classes (ant, bee, cow, dog)' in err

    def test_labels_without_names_count_too(self, trained, capsys):
        draw('listed', ['ant', 'bee'])
        Path('listed/all.txt').write_text('ant/0.png 0\nbee/0.png 5\nant/1.png 1\n')
        options = ['train_dataloader.dataset.root=listed', 'train_dataloader.dataset.ann_file=all.txt']
        argv = [trained[0], '--work-dir', 'w', '--no-validate', '--no-test', '--cfg-options', *options]
        assert 'num_classes=3, but the data have 6 classes (labels up to 5)' in refusal(capsys, *argv)
        err = refusal(capsys, *argv[:-1], 'train_dataloader.dataset.with_label=False')
        assert 'nothing can be trained or measured on it' in err
