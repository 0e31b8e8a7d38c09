"""What data are is told by their pixels and labels."""

import pickle
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('mmpretrain')

from mmengine.dataset import default_collate
from mmpretrain import datasets as mmpretrain
from mmpretrain.registry import DATASETS

from ranet_mm.mm.data import identity
from ranet_mm.mm.data.datasets import CIFAR10, CIFAR100, Digits, ImageFolder, LabelNoise
from ranet_mm.mm.data.identity import data_name, fingerprint

CLASSES = CIFAR10.METAINFO['classes']
LOAD, PACK = dict(type='ranet_mm.LoadImage'), dict(type='PackInputs')


@pytest.fixture
def samples():
    """Twenty images of 32 x 32 pixels, two of each class, in no order of classes."""
    generator = np.random.default_rng(0)
    return [(generator.integers(0, 256, (32, 32, 3), np.uint8), (7 * i) % 10) for i in range(20)]


@pytest.fixture
def folder(tmp_path, samples):
    return save(tmp_path / 'some_images/test', samples)


def save(root, samples, name='{:05d}.png'):
    """root/<class>/<index>.png"""
    for i, (image, label) in enumerate(samples):
        path = root / CLASSES[label] / name.format(i)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return root


@pytest.fixture
def archive(tmp_path, samples, monkeypatch):
    """The files of the original archive, whose MD5 sums are theirs and so not looked at."""
    root = tmp_path / 'cifar10'
    (root / 'cifar-10-batches-py').mkdir(parents=True)
    data = np.stack([image.transpose(2, 0, 1).ravel() for image, _ in samples])
    content = {'data': data, 'labels': [label for _, label in samples]}
    (root / 'cifar-10-batches-py/test_batch').write_bytes(pickle.dumps(content))
    monkeypatch.setattr(mmpretrain.CIFAR10, '_check_integrity', lambda self: True)
    return root


@pytest.fixture
def known(monkeypatch, samples):
    """The twenty images are a benchmark's."""
    found = fingerprint(dict(img=image, gt_label=label) for image, label in samples)
    monkeypatch.setitem(identity.KNOWN, found, ('Twenty', 'test', 20))
    monkeypatch.setattr(identity, 'COUNTS', {*identity.COUNTS, 20})


def test_the_table_holds_what_is_published():
    """50,000 and 10,000 images of CIFAR-10 (Krizhevsky, 2009), and scikit-learn's 1,797 digits."""
    counts = {(name, part): count for name, part, count in identity.KNOWN.values()}
    assert counts['CIFAR-10', 'train'] == counts['CIFAR-10 (JPEG copy)', 'train'] == 50_000
    assert counts['CIFAR-10', 'test'] == counts['CIFAR-10 (JPEG copy)', 'test'] == 10_000
    assert sum(counts['Digits (scikit-learn)', part] for part in ('train', 'test')) == 1797
    assert len(identity.KNOWN) == 6


def test_digits_are_known():
    assert data_name(Digits('train', holdout=20), 'train') == 'Digits (scikit-learn)'
    assert data_name(Digits('train', holdout=20, held_out=True), 'val') == 'Digits (scikit-learn)'
    assert data_name(Digits('test'), 'test') == 'Digits (scikit-learn)'


class TestContainers:
    @pytest.mark.slow('writes all test images once more')
    def test_the_container_and_the_order_do_not_matter(self, folder, archive, samples, tmp_path, known):
        reordered = save(tmp_path / 'other/test', samples[::-1], 'img_{}.png')
        bitmaps = save(tmp_path / 'bitmaps', samples, '{}.bmp')
        found = [
            ImageFolder(str(folder)),
            ImageFolder(str(reordered)),
            ImageFolder(str(bitmaps)),
            CIFAR10(data_root=str(archive), split='test'),
            mmpretrain.CIFAR10(data_root=str(archive), split='test', pipeline=[]),
            DATASETS.build(dict(type='ranet_mm.DeviceDataset', dataset=folder_cfg(folder))),
            DATASETS.build(dict(type='ranet_mm.DeviceDataset', dataset=folder_cfg(folder), cache=False)),
        ]
        assert [data_name(data, 'test') for data in found] == ['Twenty'] * 7

    def test_archive_and_folder_give_equal_batches(self, folder, archive):
        theirs = mmpretrain.CIFAR10(data_root=str(archive), split='test', pipeline=[dict(type='PackInputs')])
        ours = CIFAR10(data_root=str(archive), split='test', pipeline=[LOAD, PACK])
        files = ImageFolder(str(folder), pipeline=[LOAD, PACK])
        order = sorted(range(20), key=lambda i: int(files[i]['data_samples'].img_path[-9:-4]))
        batches = [default_collate([data[i] for i in indices]) for data, indices in
                   ((theirs, range(20)), (ours, range(20)), (files, order))]  # fmt: skip
        for a, b in pairwise(batches):
            assert a['inputs'].equal(b['inputs']) and a['inputs'].shape == (20, 3, 32, 32)
            assert [s.gt_label for s in a['data_samples']] == [s.gt_label for s in b['data_samples']]

    def test_a_verified_archive_is_what_its_sums_say(self, archive):
        (archive / 'cifar-100-python').mkdir()
        content = {'data': np.zeros((5, 3072), np.uint8), 'fine_labels': [0, 1, 2, 3, 4]}
        (archive / 'cifar-100-python/test').write_bytes(pickle.dumps(content))
        assert data_name(CIFAR100(data_root=str(archive), split='test'), 'test') == 'CIFAR-100'
        assert data_name(CIFAR100(data_root=str(archive), split='test', indices=2), 'test').endswith('(2 of 5 images)')


def folder_cfg(folder):
    return dict(type='ranet_mm.ImageFolder', root=str(folder), pipeline=[LOAD, PACK])


class TestNotTheBenchmark:
    def test_one_value_of_one_pixel(self, folder, samples, known):
        path = next(folder.glob('*/00007.png'))
        image = samples[7][0].copy()
        image[31, 31, 2] ^= 1
        Image.fromarray(image).save(path)
        assert data_name(ImageFolder(str(folder)), 'test') == 'some_images'

    def test_one_label(self, folder, known):
        path = next(folder.glob('*/00007.png'))
        path.rename(folder / ('cat' if path.parent.name != 'cat' else 'dog') / path.name)
        assert data_name(ImageFolder(str(folder)), 'test') == 'some_images'

    def test_a_copy_with_loss(self, samples, tmp_path, known):
        copy = save(tmp_path / 'cifar10_folder/test', samples, '{:05d}.jpg')
        assert data_name(ImageFolder(str(copy)), 'test') == 'cifar10_folder'

    def test_other_sizes_and_numbers(self, folder, samples, known):
        next(folder.glob('*/00007.png')).unlink()
        assert data_name(ImageFolder(str(folder)), 'test') == 'some_images'
        Image.new('RGB', (31, 32)).save(folder / 'cat/7.png')
        assert data_name(ImageFolder(str(folder)), 'test') == 'some_images'


class TestRemarks:
    def test_a_part(self, folder, known):
        assert data_name(ImageFolder(str(folder), indices=5), 'test') == 'Twenty (5 of 20 images)'
        assert data_name(ImageFolder(str(folder)), 'train') == 'Twenty (test images)'

    def test_training_images_to_test_on(self):
        assert data_name(Digits('train'), 'test') == 'Digits (scikit-learn) (training images)'

    def test_wrong_labels(self):
        noisy = LabelNoise(Digits('train'), fraction=0.3)
        assert data_name(noisy, 'train') == 'Digits (scikit-learn) (30% of the labels wrong)'

    def test_several(self, folder, known):
        parts = [dict(type='ranet_mm.Digits'), folder_cfg(folder)]
        both = DATASETS.build(dict(type='ConcatDataset', ignore_keys=['classes'], datasets=parts))
        assert data_name(both, 'test') == 'Digits (scikit-learn) (training images) + Twenty'
