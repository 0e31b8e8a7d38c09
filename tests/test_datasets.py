"""Data sets: what is loaded, in which order, and what is refused."""

import pickle
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('mmpretrain')

from mmengine.registry import DATASETS
from mmpretrain.datasets import CustomDataset, cifar

from ranet_mm.mm.data import datasets
from ranet_mm.mm.data.datasets import Digits, ImageFolder, LabelNoise
from ranet_mm.mm.data.load_image import LoadImage
from ranet_mm.mm.engine.provenance import data_digest


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
        with pytest.raises(ValueError, match=r"class folder '.*/dog' is not allowed: .* classes are cat, cow"):
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
            (dict(holdout=7, held_out=True), 'holdout=7 holds no image out: no class has so many'),
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

    def test_a_folder_to_test_on_may_have_an_empty_class(self, images):
        (images / 'test/cow').mkdir()
        data = ImageFolder(str(images / 'test'), test_mode=True)
        assert data.metainfo['classes'] == ('cat', 'cow', 'dog')
        assert data.get_gt_labels().tolist() == [0] * 6 + [2] * 6

    def test_classes_may_be_lines_of_a_file(self, images):
        Path('names.txt').write_text('dog\ncow\ncat\n\n')
        data = ImageFolder(str(images / 'train'), metainfo=dict(classes='names.txt'))
        assert data.metainfo['classes'] == ('dog', 'cow', 'cat')
        assert data.get_gt_labels().tolist() == [2] * 6 + [0] * 6
        for classes in (['dog', 'cow', 'cat'], ('dog', 'cow', 'cat')):
            again = ImageFolder(str(images / 'train'), metainfo=dict(classes=classes))
            assert again.metainfo == data.metainfo and list(again.get_gt_labels()) == list(data.get_gt_labels())

    @pytest.mark.parametrize(
        ('options', 'error', 'message'),
        [
            (dict(metainfo=dict(classes='none.txt')), FileNotFoundError, "metainfo.classes='none.txt' is not allowed"),
            (dict(classes=['cat', 'dog', 'cat']), ValueError, "'cat' is there twice"),
            (dict(classes=[]), ValueError, 'names are expected'),
            (
                dict(filter_cfg=dict(size=3)),
                ValueError,
                r"filter_cfg={'size': 3} is not allowed: ImageFolder makes no use",
            ),
            (dict(indices=0), ValueError, 'indices=0 is not allowed: no image would be left'),
            (dict(indices=[0, 99]), ValueError, r'indices=\[0, 99\] is not allowed: there is no 99 of 12 images'),
            (dict(extensions=[]), ValueError, r'extensions=\[\] is not allowed: endings are expected'),
            (
                dict(extensions='.bmp'),
                ValueError,
                "class folder '.*/cat' has no images: files ending in .bmp are expected",
            ),
            (dict(data_prefix='none'), FileNotFoundError, "data folder '.*/train/none' does not exist"),
            (
                dict(data_root='elsewhere'),
                ValueError,
                "data_root='elsewhere' is not allowed: root='.*' names the folder",
            ),
            (dict(with_label=False, holdout=2), ValueError, 'holdout=2 is not allowed: images without labels have no'),
            (dict(split='train'), TypeError, 'split'),
            (dict(lable=True), TypeError, 'lable'),
            (dict(ann_file='none.txt'), FileNotFoundError, "annotation file '.*/train/none.txt' does not exist"),
        ],
    )
    def test_arguments_that_cannot_be_followed(self, images, options, error, message):
        with pytest.raises(error, match=message):
            ImageFolder(str(images / 'train'), **options)

    @pytest.mark.slow('many data sets of each kind')
    def test_arguments_of_mmpretrain(self, images):
        root = str(images / 'train')
        Image.new('RGB', (2, 2)).save(images / 'train/cat/a.bmp')
        assert len(ImageFolder(root)) == 13
        for options, count in (
            (dict(extensions=('.BMP', '.png')), 13),
            (dict(extensions=['.png']), 12),
            (dict(extensions='.png'), 12),
            (dict(indices=5), 5),
            (dict(indices=[0, 12]), 2),
            (dict(indices=-2), 2),
        ):
            assert len(ImageFolder(root, **options)) == count
        assert not ImageFolder(root, lazy_init=True)._fully_initialized
        assert len(ImageFolder(str(images), data_prefix='test')) == 12
        assert ImageFolder(str(images), data_prefix=dict(img_path='test')).metainfo['classes'] == ('cat', 'dog')
        failing = ImageFolder(root, pipeline=[lambda sample: None], max_refetch=3)
        with pytest.raises(Exception, match='Cannot find valid image after 3'):
            failing[0]


def samples(data):
    infos = [data.get_data_info(i) for i in range(len(data))]
    return [(Path(info['img_path']), info.get('gt_label')) for info in infos]


class TestLists:
    """`ann_file` and `with_label`, as mmpretrain's own data set has them."""

    @pytest.mark.parametrize(
        ('lines', 'options'),
        [
            ('cat/3.png 1\ndog/0.png 0\nname with blanks.png 1\n', dict()),
            ('cat/3.png 1\ndog/0.png 0\n', dict(metainfo=dict(classes=['a', 'b']))),
            ('3.png 1\n0.png 1\n', dict(data_prefix='cat')),
            ('cat/3.png\ndog/0.png\n', dict(with_label=False)),
            (None, dict(with_label=False)),
            (None, dict(with_label=False, extensions=('.png',))),
            (None, dict()),
        ],
    )
    def test_samples_are_those_of_mmpretrain(self, images, lines, options):
        root = str(images / 'train')
        if lines:
            (images / 'train/list.txt').write_text(lines)
            options = dict(options, ann_file='list.txt')
        ours, theirs = ImageFolder(root, **options), CustomDataset(data_root=root, **options)
        assert samples(ours) == samples(theirs)
        assert tuple(ours.metainfo.get('classes', ())) == tuple(theirs.metainfo.get('classes', ()))

    def test_a_list_may_lie_elsewhere_and_is_held_out_from(self, images):
        Path('list.txt').write_text(''.join(f'cat/{i}.png 0\n' for i in range(6)))
        data = ImageFolder(str(images / 'train'), ann_file=str(Path('list.txt').resolve()), holdout=3, held_out=True)
        assert [path.name for path, _ in samples(data)] == ['2.png', '5.png']

    @pytest.mark.parametrize(
        ('lines', 'message'),
        [
            (
                'cat/0.png 0\ncat/1.png\n',
                r"line 2 of '.*list.txt', 'cat/1.png', is not allowed: PATH LABEL, .* expected",
            ),
            ('cat/0.png cat\n', "line 1 of '.*', 'cat/0.png cat', is not allowed"),
            ('cat/0.png 0\n\n', "line 2 of '.*', '', is not allowed"),
            ('3\n', "line 1 of '.*', '3', is not allowed"),
            ('cat/0.png 2\n', 'has a label that is not allowed: it must be from 0 to 1 for the classes cat, dog'),
            ('cat/0.png -1\n', 'has a label that is not allowed'),
            ('', 'is empty'),
        ],
    )
    def test_lines_that_say_nothing(self, images, lines, message):
        (images / 'train/list.txt').write_text(lines)
        with pytest.raises(ValueError, match=message):
            ImageFolder(str(images / 'train'), ann_file='list.txt', classes=['cat', 'dog'])

    def test_noise_needs_labels(self, images):
        with pytest.raises(ValueError, match='LabelNoise is not allowed on a data set without labels'):
            LabelNoise(ImageFolder(str(images / 'train'), with_label=False), 0.5)


class TestFinding:
    def test_every_format_that_pillow_writes_and_reads(self, tmp_path):
        folder = tmp_path / 'all/cat'
        folder.mkdir(parents=True)
        written = []
        for ending, kind in Image.registered_extensions().items():
            try:
                Image.new('RGB', (32, 32)).save(folder / f'image{ending.upper()}', kind)
                with Image.open(folder / f'image{ending.upper()}') as image:
                    image.load()
                written.append(f'image{ending.upper()}')
            except (OSError, KeyError, ValueError):  # not one of both, or not in this build
                (folder / f'image{ending.upper()}').unlink(missing_ok=True)
        assert {'image.PNG', 'image.WEBP', 'image.TIFF', 'image.JFIF', 'image.GIF'} <= set(written)
        assert [path.name for path, _ in samples(ImageFolder(str(tmp_path / 'all')))] == sorted(written)

    def test_links_are_followed_and_hidden_names_are_not(self, images, tmp_path):
        root = images / 'train'
        expected = samples(ImageFolder(str(root)))
        (tmp_path / 'far/deep').mkdir(parents=True)
        Image.new('RGB', (32, 32)).save(tmp_path / 'far/deep/z.png')
        (root / 'cow').symlink_to(tmp_path / 'far')
        for link, to in (('cat/up', '..'), ('cat/further', images), ('cat/self', 'self'), ('dog/here', '.')):
            (root / link).symlink_to(to)
        (tmp_path / 'far/back').symlink_to(root)
        for name in ('cat/._a.png', 'cat/.ipynb_checkpoints/0-checkpoint.png', '.hidden/a.png', '__MACOSX/a.png',
                     'dog/Thumbs.db', 'dog/.DS_Store', 'dog/__MACOSX/0.png', 'cow/.b.png'):  # fmt: skip
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_bytes(b'nothing')
        data = ImageFolder(str(root))
        assert data.metainfo['classes'] == ('cat', 'cow', 'dog')
        others = [(path, label) for path, label in samples(data) if path.parts[-3] != 'cow']
        assert others == [(path, 2 * label) for path, label in expected]
        assert [path for path, label in samples(data) if label == 1] == [root / 'cow/deep/z.png']
        assert len(ImageFolder(str(root), with_label=False)) == 13

    def test_what_is_left_out_is_said_once(self, images, monkeypatch):
        lines = []
        monkeypatch.setattr(datasets, 'print_log', lambda line, **options: lines.append(line))
        for name in ('cat/notes.txt', 'cat/b.TXT', 'dog/README', 'dog/clip.mpg'):
            (images / 'train' / name).touch()
        for _ in range(2):
            assert len(ImageFolder(str(images / 'train')).load_whole()) == 12
        assert len(lines) == 1
        assert lines[0].endswith("/train': 4 files left out as no images: 2 .txt, 1 without an ending, 1 .mpg") or (
            lines[0].endswith("/train': 4 files left out as no images: 2 .txt, 1 .mpg, 1 without an ending")
        )
        ImageFolder(str(images / 'train'), extensions=('.png', '.txt'))
        assert len(lines) == 2 and '2 files left out' in lines[1]


def test_imagenet_without_labels(tmp_path):
    (tmp_path / 'test').mkdir()
    Image.new('RGB', (2, 2)).save(tmp_path / 'test/1.JPEG')
    assert samples(datasets.ImageNet(str(tmp_path), 'test')) == [(tmp_path / 'test/1.JPEG', None)]
    (tmp_path / 'train/n01440764').mkdir(parents=True)
    with pytest.raises(ValueError, match='1 class folders, which is not allowed: 1000 are expected'):
        datasets.ImageNet(str(tmp_path), 'train')


@pytest.mark.parametrize(
    'options', [dict(ann_file='a.txt'), dict(data_root='a'), dict(data_prefix='a'), dict(filter_cfg={'a': 1})]
)
def test_digits_take_no_place(options):
    with pytest.raises(ValueError, match='is not allowed: Digits makes no use of it'):
        Digits(**options)


@pytest.mark.parametrize(('name', 'classes'), [('CIFAR10', 10), ('CIFAR100', 100)])
class TestArchive:
    @pytest.fixture
    def root(self, name, classes, tmp_path, monkeypatch):
        """An archive of three noise images for each class, the test split included."""
        kind = getattr(datasets, name)
        generator = np.random.default_rng(0)
        folder = tmp_path / kind.base_folder
        folder.mkdir()
        for file in (kind.train_list[0][0], kind.test_list[0][0]):
            images = generator.integers(0, 256, (3 * classes, 3072), np.uint8)
            labels = np.arange(3 * classes) % classes
            (folder / file).write_bytes(pickle.dumps(dict(data=images, fine_labels=labels.tolist())))
        monkeypatch.setattr(kind, 'train_list', kind.train_list[:1])
        monkeypatch.setattr(kind, '_check_integrity', lambda self: True)
        return tmp_path

    def test_parts_make_up_the_whole(self, name, classes, root):
        kind = getattr(datasets, name)
        whole, kept, held_out = (
            kind(str(root), split='train', **options)
            for options in (dict(), dict(holdout=3), dict(holdout=3, held_out=True))
        )
        assert whole.get_gt_labels().tolist() == list(range(classes)) * 3
        assert held_out.get_gt_labels().tolist() == list(range(classes))
        images = [[sample['img'].tobytes() for sample in part] for part in (whole, kept, held_out)]
        assert images[0] == images[1] + images[2]
        assert len(kind(str(root), split='test')) == 3 * classes

    def test_missing_archive_is_told(self, name, classes, tmp_path, monkeypatch):
        def download(*args, **kwargs):
            raise URLError('no network')

        monkeypatch.setattr(cifar, 'download_and_extract_archive', download)
        with pytest.raises(OSError, match=r'cifar-100?-python\.tar\.gz cannot be downloaded to .* unpack it there'):
            getattr(datasets, name)(str(tmp_path / 'nowhere'))


def test_imagenet_holds_out(tmp_path):
    for name in ('n01440764/1.jpg', 'n01440764/2.jpg', 'n01443537/3.jpg', 'n01443537/4.jpg'):
        path = tmp_path / 'train' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (2, 2)).save(path)
    metainfo = dict(classes=('tench', 'goldfish'))
    held_out = datasets.ImageNet(str(tmp_path), 'train', metainfo=metainfo, holdout=2, held_out=True)
    assert [s['img_path'][-5:] for s in held_out] == ['2.jpg', '4.jpg']


class TestLabelNoise:
    @pytest.fixture(scope='class')
    def digits(self):
        return Digits('train')

    @pytest.mark.parametrize('fraction', [0, 0.1, 0.3, 0.5, 0.7, 1])
    def test_fraction_is_exact(self, digits, fraction):
        noisy = LabelNoise(digits, fraction)
        changed = noisy.get_gt_labels() != digits.get_gt_labels()
        assert changed.sum() == round(fraction * 1437)
        assert np.array_equal(changed, noisy.wrong)

    def test_every_other_class_is_as_likely(self, digits):
        right = digits.get_gt_labels()
        steps = np.zeros(10, int)
        for seed in range(20):
            steps += np.bincount((LabelNoise(digits, 1.0, seed=seed).labels - right) % 10, minlength=10)
        assert steps[0] == 0
        expected = 20 * 1437 / 9
        assert ((steps[1:] - expected) ** 2 / expected).sum() < 26.1  # chi-square, 8 degrees of freedom, 0.1 %

    def test_seed_decides(self, digits):
        first, again, other = (LabelNoise(digits, 0.5, seed=s).labels for s in (0, 0, 1))
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)

    def test_samples_carry_the_labels_in_force(self, digits):
        noisy = DATASETS.build(dict(type='ranet_mm.LabelNoise', fraction=0.5, dataset=dict(type='ranet_mm.Digits')))
        assert len(noisy) == 1437
        assert noisy.metainfo == digits.metainfo
        for i in np.flatnonzero(noisy.wrong)[:5]:
            label = noisy.labels[i]
            assert label != digits[i]['gt_label']
            assert noisy[i]['gt_label'] == noisy.get_data_info(i)['gt_label'] == noisy.get_cat_ids(i)[0] == label
            assert np.array_equal(noisy[i]['img'], digits[i]['img'])
        assert data_digest(noisy)['sha256'] != data_digest(digits)['sha256']

    def test_the_data_set_itself_is_untouched(self, digits):
        before = digits.get_gt_labels()
        LabelNoise(digits, 1.0)
        assert np.array_equal(digits.get_gt_labels(), before)

    @pytest.mark.parametrize('options', [dict(split='test'), dict(split='train', test_mode=True)])
    def test_labels_to_test_on_stay_right(self, options):
        with pytest.raises(ValueError, match='LabelNoise is not allowed on a data set to test on'):
            LabelNoise(dict(type='ranet_mm.Digits', **options), 0.1)

    @pytest.mark.parametrize('fraction', [-0.1, 1.1])
    def test_impossible_fraction(self, digits, fraction):
        with pytest.raises(ValueError, match=f'fraction={fraction} is not allowed: it must be from 0 to 1'):
            LabelNoise(digits, fraction)


class TestLoadImage:
    def test_rgb(self, tmp_path):
        Image.new('L', (3, 2), 7).save(tmp_path / 'grey.png')
        results = LoadImage()(dict(img_path=str(tmp_path / 'grey.png')))
        assert results['img'].shape == (2, 3, 3)
        assert (results['img'] == 7).all()
        assert results['img_shape'] == results['ori_shape'] == (2, 3)
        Image.new('RGB', (1, 1), (255, 0, 10)).save(tmp_path / 'red.png')
        red = dict(img_path=str(tmp_path / 'red.png'))
        assert LoadImage()(dict(red))['img'].tolist() == [[[255, 0, 10]]]
        assert (LoadImage()(dict(red))['img'].dtype, LoadImage(True)(dict(red))['img'].dtype) == (np.uint8, np.float32)

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
        monkeypatch.setattr('ranet_mm.mm.engine.provenance.CONTENT_LIMIT', 100)
        assert data_digest(ImageFolder(str(images / 'train')))['of'] == 'labels, names and sizes'
