"""The images of shapes: the three layouts hold the same objects, and nothing of a user's is written over."""

import json
from collections import Counter
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from ranet_mm.cli.make_shapes import main
from ranet_mm.mm.data.shapes import CLASSES, LAYOUTS, ShapesCfg, make, run_lengths, samples

SMALL = ShapesCfg(size=32, train=3, val=2, test=1)


def decode(runs):
    """A mask from COCO's run lengths, the slow way."""
    values = [i % 2 for i, length in enumerate(runs['counts']) for _ in range(length)]
    return np.array(values, bool).reshape(runs['size'], order='F')


def boxes_of_xml(path):
    root = ElementTree.parse(path).getroot()
    corners = ('xmin', 'ymin', 'xmax', 'ymax')
    return [
        (entry.findtext('name'), *(int(entry.findtext(f'bndbox/{c}')) for c in corners))
        for entry in root.iter('object')
    ]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('data') / 'shapes'
    assert make(path, SMALL)
    return path


def test_objects():
    counts = Counter()
    for sample in samples(ShapesCfg(train=60), 'train'):
        assert sample.image.shape == (64, 64, 3) and 1 <= len(sample.instances) <= 3
        assert sum(i.mask.astype(int) for i in sample.instances).max() == 1, 'a pixel belongs to one object'
        for instance in sample.instances:
            left, top, right, bottom = instance.box
            outside = instance.mask.copy()
            outside[top:bottom, left:right] = False
            assert not outside.any() and instance.mask[:, left].any() and instance.mask[bottom - 1].any()
            counts[CLASSES[instance.label]] += 1
    assert min(counts[name] for name in CLASSES) > 20
    assert counts.total() > 90, 'objects are seen together'


def test_an_image_depends_on_seed_split_and_number_alone():
    few, many = (next(samples(ShapesCfg(train=n, val=1), 'train')) for n in (1, 5))
    assert np.array_equal(few.image, many.image)
    others = next(samples(ShapesCfg(seed=1), 'train')), next(samples(ShapesCfg(), 'val'))
    assert not any(np.array_equal(few.image, other.image) for other in others)


@pytest.mark.parametrize('first', [0, 1])
def test_run_lengths(first):
    mask = np.zeros((3, 4), bool)
    mask[1:, 1:3] = True
    mask[0, 0] = first
    assert np.array_equal(decode(run_lengths(mask)), mask)
    assert run_lengths(mask)['counts'] == ([0, 1, 3, 2, 1, 2, 3] if first else [4, 2, 1, 2, 3])


def test_layouts_agree(folder):
    for split, name, count in (('train', 'training', 3), ('val', 'validation', 2), ('test', 'test', 1)):
        listing = json.loads((folder / f'coco/annotations/instances_{split}2017.json').read_text())
        assert [c['name'] for c in listing['categories']] == list(CLASSES)
        assert len(listing['images']) == count
        assert len({a['id'] for a in listing['annotations']}) == len(listing['annotations'])
        assert (folder / f'VOCdevkit/VOC2012/ImageSets/Main/{split}.txt').read_text().count('\n') == count
        for entry in listing['images']:
            stem = entry['file_name'].removesuffix('.jpg')
            objects = [a for a in listing['annotations'] if a['image_id'] == entry['id']]
            by_pixel = np.zeros((32, 32), int)
            for item in objects:
                by_pixel[decode(item['segmentation'])] = item['category_id']
                assert item['area'] == decode(item['segmentation']).sum()
            ade = np.array(Image.open(folder / f'ade/annotations/{name}/{stem}.png'))
            voc = np.array(Image.open(folder / f'VOCdevkit/VOC2012/SegmentationClass/{stem}.png'))
            assert np.array_equal(ade, by_pixel + 1) and np.array_equal(voc, by_pixel)
            boxes = [
                (CLASSES[item['category_id'] - 1], x + 1, y + 1, x + width, y + height)
                for item in objects
                for x, y, width, height in [item['bbox']]
            ]
            assert boxes_of_xml(folder / f'VOCdevkit/VOC2012/Annotations/{stem}.xml') == boxes
            images = [
                folder / f'coco/{split}2017/{stem}.jpg',
                folder / f'ade/images/{name}/{stem}.jpg',
                folder / f'VOCdevkit/VOC2012/JPEGImages/{stem}.jpg',
            ]
            assert len({path.read_bytes() for path in images}) == 1


def test_coco_file_is_read_by_pycocotools(folder):
    coco = pytest.importorskip('pycocotools.coco', reason='the extra det brings pycocotools')
    data = coco.COCO(str(folder / 'coco/annotations/instances_train2017.json'))
    for sample, image in zip(samples(SMALL, 'train'), data.getImgIds(), strict=True):
        found = data.loadAnns(data.getAnnIds(imgIds=[image]))
        masks = [data.annToMask(a).astype(bool) for a in found]
        assert all(np.array_equal(m, i.mask) for m, i in zip(masks, sample.instances, strict=True))


def test_the_same_again_is_left_as_it_is(folder):
    stamp = (folder / 'shapes.json').stat().st_mtime_ns
    assert not make(folder, SMALL)
    assert (folder / 'shapes.json').stat().st_mtime_ns == stamp


def test_another_folder_is_not_written_over(folder, tmp_path):
    with pytest.raises(FileExistsError, match='holds other files: choose another, or remove it first'):
        make(folder, ShapesCfg(size=48, train=3, val=2, test=1))
    mine = tmp_path / 'mine'
    mine.mkdir()
    (mine / 'thesis.txt').write_text('mine')
    with pytest.raises(FileExistsError, match=r"folder '.*mine' holds other files"):
        make(mine, SMALL)
    assert [p.name for p in mine.iterdir()] == ['thesis.txt']


@pytest.mark.parametrize(('field', 'value', 'least'), [('size', 16, 32), ('train', 0, 1), ('seed', -1, 0)])
def test_wrong_settings(field, value, least):
    with pytest.raises(ValueError, match=f'{field}={value} is not allowed: it must be {least} or more'):
        ShapesCfg(**{field: value})


def test_unknown_layout(tmp_path):
    with pytest.raises(ValueError, match=f"layout='kitti' is not known: allowed are {', '.join(LAYOUTS)}"):
        make(tmp_path / 'new', SMALL, ['kitti'])
    assert not (tmp_path / 'new').exists()


def test_command(tmp_path, capsys):
    options = ['--size', '32', '--train', '2', '--val', '1', '--test', '1', '--layouts', 'coco']
    assert main([str(tmp_path / 'new'), *options]) == 0
    assert 'Wrote 2 + 1 + 1 images of 32x32 pixels to' in capsys.readouterr().out
    assert main([str(tmp_path / 'new'), *options]) == 0
    assert 'Already there: 2 + 1 + 1 images' in capsys.readouterr().out
    assert main([str(tmp_path / 'new'), '--train', '3']) == 1
    assert capsys.readouterr().err.startswith("error: folder '")
