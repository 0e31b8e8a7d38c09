"""Data sets: what is loaded, in which order, and what is refused."""

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('mmpretrain')

from ranet_mm.mm.datasets import Digits, ImageFolder, LoadImage
from ranet_mm.mm.record import data_digest


class TestDigits:
    def test_split_is_fixed_and_stratified(self):
        train, test = Digits('train'), Digits('test')
        assert (len(train), len(test)) == (1437, 360)
        assert np.bincount(test.get_gt_labels()).tolist() == [36, 36, 35, 37, 36, 37, 36, 36, 35, 36]
        # The digest of the test split is a fact that published accuracies rest on.
        assert data_digest(test)['sha256'].startswith('912e482fca12a985')
        images = {s['img'].tobytes() for s in (test[i] for i in range(360))}
        assert not images & {s['img'].tobytes() for s in (train[i] for i in range(1437))}

    def test_a_pixel_is_a_block(self):
        image = Digits('test')[0]['img']
        assert (image.shape, image.dtype) == ((32, 32, 3), np.uint8)
        small = image[::4, ::4]
        assert np.array_equal(small.repeat(4, 0).repeat(4, 1), image)
        assert small.max() == 255

    def test_held_out_part(self):
        kept, held_out = (Digits('train', holdout=5, held_out=h) for h in (False, True))
        assert len(kept) + len(held_out) == 1437
        assert np.bincount(held_out.get_gt_labels()).min() >= 27

    def test_unknown_split(self):
        with pytest.raises(ValueError, match="split='val' is not allowed: it must be one of train, test"):
            Digits('val')


class TestImageFolder:
    def test_classes_in_alphabetical_order(self, images):
        folder = ImageFolder(str(images / 'train'))
        assert folder.metainfo['classes'] == ('cat', 'dog')
        assert folder.get_gt_labels().tolist() == [0] * 6 + [1] * 6
        assert [folder[i]['img_path'][-9:] for i in (0, 6)] == ['cat/0.png', 'dog/0.png']

    def test_given_classes_set_the_labels(self, images):
        folder = ImageFolder(str(images / 'train'), classes=['dog', 'cat'])
        assert {(s['img_path'].split('/')[-2], s['gt_label']) for s in folder} == {('dog', 0), ('cat', 1)}
        with pytest.raises(ValueError, match=r"class folders \['cat', 'dog'\] of .* the dataset's classes are"):
            ImageFolder(str(images / 'train'), classes=['cat', 'cow'])

    def test_held_out_part(self, images):
        parts = [ImageFolder(str(images / 'train'), holdout=3, held_out=h) for h in (False, True)]
        names = [[s['img_path'][-5] for s in part] for part in parts]
        assert names == [list('0134') * 2, list('25') * 2]

    @pytest.mark.parametrize(
        ('options', 'message'),
        [
            (dict(holdout=1), 'holdout=1 is not allowed: it must be 0, or 2 or more'),
            (dict(held_out=True), 'held_out=True is not allowed with holdout=0'),
        ],
    )
    def test_impossible_parts(self, images, options, message):
        with pytest.raises(ValueError, match=message):
            ImageFolder(str(images / 'train'), **options)

    def test_missing_empty_and_classless(self, images, tmp_path):
        with pytest.raises(FileNotFoundError, match="data folder 'nowhere' does not exist"):
            ImageFolder('nowhere')
        (images / 'train/cow').mkdir()
        with pytest.raises(ValueError, match=r"class folder '.*/cow' has no images"):
            ImageFolder(str(images / 'train'))
        (tmp_path / 'bare').mkdir()
        with pytest.raises(ValueError, match=r"data folder '.*/bare' has no class folders"):
            ImageFolder(str(tmp_path / 'bare'))


class TestLoadImage:
    def test_rgb(self, tmp_path):
        Image.new('L', (3, 2), 7).save(tmp_path / 'grey.png')
        results = LoadImage()(dict(img_path=str(tmp_path / 'grey.png')))
        assert results['img'].shape == (2, 3, 3)
        assert (results['img'] == 7).all()
        assert results['img_shape'] == results['ori_shape'] == (2, 3)
        Image.new('RGB', (1, 1), (255, 0, 10)).save(tmp_path / 'red.png')
        assert LoadImage()(dict(img_path=str(tmp_path / 'red.png')))['img'].tolist() == [[[255, 0, 10]]]

    def test_truncated_jpeg_is_named(self, tmp_path):
        path = tmp_path / 'cut.jpg'
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(path)
        path.write_bytes(path.read_bytes()[:-500])
        with pytest.raises(ValueError, match=r"image '.*/cut\.jpg' cannot be read whole: .*truncated"):
            LoadImage()(dict(img_path=str(path)))


class TestDigest:
    def test_sees_content_names_and_labels(self, images):
        def digest(**options):
            return data_digest(ImageFolder(str(images / 'train'), **options))

        first = digest()
        assert first == dict(samples=12, sha256=first['sha256'], of='labels, names and content')
        assert digest() == first
        assert digest(classes=['dog', 'cat']) != first
        path = images / 'train/dog/5.png'
        path.rename(path.with_name('6.png'))
        renamed = digest()
        assert renamed != first
        Image.new('RGB', (32, 32)).save(path.with_name('6.png'))
        assert digest() not in (first, renamed)

    def test_place_does_not_matter(self, images, tmp_path):
        first = data_digest(ImageFolder(str(images / 'train')))
        images.rename(tmp_path / 'elsewhere')
        assert data_digest(ImageFolder(str(tmp_path / 'elsewhere/train'))) == first

    def test_large_sets_are_told_by_sizes(self, images, monkeypatch):
        monkeypatch.setattr('ranet_mm.mm.record.CONTENT_LIMIT', 100)
        assert data_digest(ImageFolder(str(images / 'train')))['of'] == 'labels, names and sizes'
