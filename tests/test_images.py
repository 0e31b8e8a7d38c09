"""Image files: one reader everywhere, what it makes of each kind of file, and what it says of one that is damaged."""

import json
import os
import struct
import warnings
import zlib
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from PIL import Image, PngImagePlugin, features

from ranet_mm.images import levels, read, shown

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 4, 3), np.uint8)
GREY = RNG.integers(0, 256, (6, 4), np.uint8)
WIDE = RNG.integers(0, 2**16, (6, 4), np.uint16)
# What must be done to the stored pixels to see them upright, by the values of the EXIF standard.
TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: np.rot90(a, 2),
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


def coded(image, kind='PNG', **options):
    """The bytes of a file of an array or an image."""
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def orientation(value):
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def seen(content, name='image'):
    Path(name).write_bytes(content)
    return np.array(read(name))


def grey(values):
    """(H, W) as RGB."""
    return np.repeat(np.asarray(values, np.uint8)[..., None], 3, 2)


def on_white(rgb, alpha):
    """The definition of alpha, rounded."""
    alpha = np.asarray(alpha)[..., None] / 255
    return np.rint(np.asarray(rgb) * alpha + 255 * (1 - alpha))


def chunk(name, content):
    return struct.pack('>I', len(content)) + name + content + struct.pack('>I', zlib.crc32(name + content))


def png(width, height, bits, colours, rows, *chunks):
    """A PNG file written by hand, for what Pillow does not write; each row's bytes without the filter's."""
    header = struct.pack('>IIBBBBB', width, height, bits, colours, 0, 0, 0)
    data = zlib.compress(b''.join(b'\0' + row for row in rows))
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + b''.join(chunks) + chunk(b'IDAT', data) + chunk(b'IEND', b'')


def tiff(width, height, bits, data, photometric=1, sample_format=1):
    """A little-endian TIFF file of one grey channel, written by hand."""
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: height,
            279: len(data), 339: sample_format}  # fmt: skip
    entries = b''.join(struct.pack('<HHII', tag, 4 if tag in (273, 279) else 3, 1, v) for tag, v in tags.items())
    return b'II*\0' + struct.pack('<I', 8 + len(data)) + data + struct.pack('<H', len(tags)) + entries + bytes(4)


class TestOrientation:
    @pytest.mark.parametrize('value', TURNS)
    @pytest.mark.parametrize(
        ('kind', 'options'),
        [('JPEG', {}), ('PNG', {}), ('TIFF', {}), ('WEBP', dict(lossless=True)), ('AVIF', {}), ('MPO', {})],
    )
    def test_pictures_are_upright(self, kind, options, value):
        if kind == 'AVIF' and not features.check('avif'):
            pytest.skip('this Pillow reads no AVIF')
        as_stored = seen(coded(PIXELS, kind, **options))
        expected = TURNS[value](as_stored)
        assert np.array_equal(seen(coded(PIXELS, kind, exif=orientation(value), **options)), expected)

    @pytest.mark.parametrize('value', TURNS)
    @pytest.mark.parametrize('pixels', [GREY, WIDE, WIDE.astype('>u2'), WIDE.astype(np.int32), WIDE.astype(np.float32)])
    def test_of_every_depth(self, value, pixels):
        turned = seen(coded(pixels, 'TIFF', exif=orientation(value)))
        assert np.array_equal(turned, TURNS[value](seen(coded(pixels, 'TIFF'))))

    def test_in_a_note_of_xmp(self):
        note = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="8"/></x:xmpmeta>'
        expected = np.rot90(seen(coded(PIXELS, 'JPEG')))
        assert np.array_equal(seen(coded(PIXELS, 'JPEG', xmp=note)), expected)

    @pytest.mark.parametrize('damage', [orientation(9), orientation(0), b'Exif\0\0II*\0\xff\xff', b'no EXIF at all'])
    def test_without_a_meaning_it_is_none(self, damage):
        assert np.array_equal(seen(coded(PIXELS, 'JPEG', exif=damage)), seen(coded(PIXELS, 'JPEG')))


class TestModes:
    @pytest.mark.parametrize(
        ('mode', 'kind'),
        [
            ('RGB', 'PNG'), ('RGB', 'JPEG'), ('RGB', 'WEBP'), ('RGB', 'TIFF'), ('RGB', 'BMP'), ('RGB', 'GIF'),
            ('L', 'PNG'), ('L', 'JPEG'), ('1', 'PNG'), ('1', 'TIFF'), ('P', 'PNG'), ('P', 'GIF'), ('P', 'BMP'),
            ('CMYK', 'JPEG'), ('CMYK', 'TIFF'), ('YCbCr', 'JPEG'), ('YCbCr', 'TIFF'), ('LAB', 'TIFF'),
            ('LA', 'PNG'), ('RGBA', 'PNG'), ('RGBA', 'WEBP'), ('RGBA', 'TGA'), ('PA', 'TIFF'),
        ],
    )  # fmt: skip
    def test_opaque_ones_are_as_pillow_converts_them(self, mode, kind):
        content = coded(Image.fromarray(PIXELS).convert(mode), kind)
        assert np.array_equal(seen(content), np.array(Image.open(BytesIO(content)).convert('RGB')))

    @pytest.mark.parametrize('mode', ['1', 'L', 'P', 'CMYK', 'YCbCr', 'LAB', 'I', 'F', 'RGBA', 'LA'])
    def test_of_one_picture_all_look_alike(self, mode):
        """A ramp from black to white keeps its range in every mode."""
        ramp = np.repeat(np.arange(0, 256, 5, dtype=np.uint8)[None], 4, 0)
        ramp = ramp // 128 * 255 if mode == '1' else ramp
        image = Image.fromarray(ramp).convert('RGB')
        found = seen(coded(image.quantize() if mode == 'P' else image.convert(mode), 'TIFF'))
        assert abs(found - grey(ramp).astype(int)).max() <= 3

    @pytest.mark.parametrize(
        'content',
        [
            coded(WIDE),
            coded(WIDE, 'TIFF'),
            coded(WIDE.astype('>u2'), 'TIFF'),
            coded(WIDE.astype(np.int32), 'TIFF'),
            coded(WIDE.astype(np.float32), 'TIFF'),
            coded(WIDE.astype(np.int32), 'PPM'),
            coded(WIDE, 'TIFF', compression='tiff_lzw'),
            tiff(4, 6, 16, (65535 - WIDE).tobytes(), photometric=0),
            tiff(4, 6, 32, (WIDE.astype('<u4') << 16).tobytes()),
            tiff(4, 6, 32, (WIDE.astype('<i4') << 15).tobytes(), sample_format=2),
        ],
    )
    def test_more_bits_are_brought_to_8(self, content):
        assert np.array_equal(seen(content), grey(WIDE >> 8))

    def test_colours_of_16_bits_are_as_grey_of_16_bits(self):
        colour = png(4, 6, 16, 2, [row.astype('>u2').repeat(3).tobytes() for row in WIDE])
        assert np.array_equal(seen(colour), seen(coded(WIDE)))

    def test_12_bits(self):
        data = b''.join(
            bytes((a >> 4, (a & 15) << 4 | b >> 8, b & 255)) for a, b in (WIDE >> 4).reshape(-1, 2).tolist()
        )
        assert np.array_equal(seen(tiff(4, 6, 12, data)), grey(WIDE >> 8))
        assert seen(b'P2 3 1 4095\n0 2048 4095\n')[0, :, 0].tolist() == [0, 128, 255]

    def test_a_dark_image_of_known_depth_stays_dark(self):
        dark = np.full((2, 2), 255, np.uint16)
        for content in (coded(dark), coded(dark, 'TIFF'), b'P5 2 2 65535\n' + dark.astype('>u2').tobytes()):
            assert not seen(content).any()

    @pytest.mark.parametrize('scale', [1, 255])
    def test_floating_point(self, scale):
        values = (GREY / np.float32(255) * scale).astype(np.float32)
        assert np.array_equal(seen(coded(values, 'TIFF')), grey(GREY))

    @pytest.mark.parametrize('values', [[-1, 5], [0, 300], [0, 70_000]])
    def test_integers_of_no_known_scale(self, values):
        with pytest.raises(ValueError, match=rf'^image .* cannot be read whole: its values are from {values[0]} to '):
            seen(coded(np.array([values], np.int32), 'TIFF'))

    @pytest.mark.parametrize('values', [[-0.5, 1], [0, 1.02], [0, 256], [0, 1e6], [0, np.nan], [np.inf, 0]])
    def test_numbers_of_no_known_scale(self, values):
        with pytest.raises(ValueError, match=r'^image .* cannot be read whole: its values are from \S+ to \S+, which'):
            seen(coded(np.array([values], np.float32), 'TIFF'))

    def test_one_pixel_and_one_row(self):
        assert seen(coded(PIXELS[:1, :1])).shape == (1, 1, 3)
        assert seen(coded(np.zeros((1, 60_000), np.uint8))).shape == (1, 60_000, 3)

    def test_levels_of_other_kinds(self):
        assert levels(np.array([False, True])).tolist() == [0, 255]
        assert levels(np.array([0, 2**15 - 1], np.int16)).tolist() == [0, 255]
        assert levels(np.array([0, 2**63 // 3], np.uint64) % 256).tolist() == [0, 2**63 // 3 % 256]


class TestTransparency:
    ALPHA = RNG.integers(0, 256, (6, 4), np.uint8)

    @pytest.mark.parametrize('kind', ['PNG', 'TIFF', 'WEBP', 'TGA'])
    def test_of_colours(self, kind):
        image = Image.fromarray(np.dstack([PIXELS, self.ALPHA]))
        options = dict(lossless=True, exact=True) if kind == 'WEBP' else {}
        assert np.array_equal(seen(coded(image, kind, **options)), on_white(PIXELS, self.ALPHA))

    def test_of_grey(self):
        image = Image.merge('LA', [Image.fromarray(GREY), Image.fromarray(self.ALPHA)])
        assert np.array_equal(seen(coded(image)), on_white(grey(GREY), self.ALPHA))

    def test_of_grey_that_alpha_was_multiplied_into(self):
        image = Image.merge('LA', [Image.fromarray(GREY), Image.fromarray(np.full_like(GREY, 128))]).convert('La')
        assert abs(shown(image) - on_white(grey(GREY), np.full((6, 4), 128))).max() <= 1  # Pillow writes no such file

    def palette(self):
        image = Image.fromarray(np.arange(4, dtype=np.uint8)[None])
        image.putpalette([*(10, 20, 30), *(40, 50, 60), *(70, 80, 90), *(100, 110, 120)])
        return image

    def test_of_a_palette(self):
        rgb = [[(10, 20, 30), (40, 50, 60), (70, 80, 90), (100, 110, 120)]]
        assert seen(coded(self.palette())).tolist() == np.array(rgb).tolist()
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            found = seen(coded(self.palette(), transparency=bytes((0, 128, 255))))
        assert np.array_equal(found, on_white(rgb, [[0, 128, 255, 255]]))
        for kind in ('PNG', 'GIF'):
            found = seen(coded(self.palette(), kind, transparency=2))
            assert np.array_equal(found, on_white(rgb, [[255, 255, 0, 255]]))

    @pytest.mark.parametrize(
        ('content', 'expected'),
        [
            (png(4, 1, 8, 0, [bytes((0, 5, 6, 255))], chunk(b'tRNS', b'\0\5')), [0, 255, 6, 255]),
            (png(4, 1, 4, 0, [b'\x01\x5f'], chunk(b'tRNS', b'\0\5')), [0, 17, 255, 255]),
            (png(4, 1, 2, 0, [b'\x1b'], chunk(b'tRNS', b'\0\2')), [0, 85, 255, 255]),
            (png(4, 1, 1, 0, [b'\x50'], chunk(b'tRNS', b'\0\0')), [255, 255, 255, 255]),
            (png(2, 1, 16, 0, [b'\x12\x34\x12\x35'], chunk(b'tRNS', b'\x12\x34')), [255, 0x12]),
            (png(2, 1, 8, 2, [b'\1\1\1\2\2\2'], chunk(b'tRNS', b'\0\1\0\1\0\1')), [255, 2]),
            (png(2, 1, 16, 2, [b'\x12\x34' * 3 + b'\x34\x12' * 3], chunk(b'tRNS', b'\x12\x34' * 3)), [255, 0x34]),
        ],
    )
    def test_of_one_colour(self, content, expected):
        assert np.array_equal(seen(content), grey([expected]))


class TestFirstFrame:
    @pytest.mark.parametrize('kind', ['GIF', 'PNG', 'WEBP', 'TIFF', 'MPO'])
    def test_of_an_animation(self, kind):
        frames = [Image.fromarray(np.full((6, 4), value, np.uint8)) for value in (50, 100, 150)]
        options = dict(lossless=True) if kind == 'WEBP' else {}
        content = coded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert Image.open(BytesIO(content)).n_frames == 3
        assert abs(seen(content).astype(int) - 50).max() <= (2 if kind == 'MPO' else 0)


def text_chunk():
    info = PngImagePlugin.PngInfo()
    info.add_text('note', 'x' * 2_000_000, zip=True)
    return coded(PIXELS, pnginfo=info)


NOISE = RNG.integers(0, 256, (64, 64, 3), np.uint8)
BITS = bytearray(coded(NOISE))
BITS[200] ^= 255
DAMAGED = {
    'empty.png': b'',
    'text.png': b'no image',
    'cut.png': coded(NOISE)[:-500],
    'flipped.png': bytes(BITS),
    'header.png': coded(NOISE)[:20],
    'comment.png': text_chunk(),
    'large.png': png(20_000, 10_000, 8, 2, []),
    'nothing.png': png(0, 5, 8, 2, []),
    'dark.tif': coded(np.array([[-1, 1]], np.int32), 'TIFF'),
    **{f'cut.{kind}': coded(NOISE, kind)[:2000] for kind in ('jpeg', 'tiff', 'bmp', 'gif', 'webp', 'tga', 'ppm')},
    'page.eps': b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\n',
}


class TestDamage:
    @pytest.mark.parametrize('name', DAMAGED)
    def test_one_sentence_names_the_file(self, name):
        with pytest.raises(ValueError, match=rf"^image '{name}' cannot be read whole: \S") as raised:
            seen(DAMAGED[name], name)
        assert '\n' not in str(raised.value)

    def test_files_that_are_none(self):
        Path('folder.png').mkdir()
        Path('nowhere.png').symlink_to('missing.png')
        for name, why in {
            'folder.png': 'Is a directory',
            'nowhere.png': 'No such file',
            'missing.png': 'No such',
        }.items():
            with pytest.raises(ValueError, match=rf"^image '{name}' cannot be read whole: {why}"):
                read(name)

    @pytest.mark.skipif(not hasattr(os, 'geteuid') or os.geteuid() == 0, reason='root may read every file')
    def test_no_permission(self):
        Path('closed.png').write_bytes(coded(PIXELS))
        Path('closed.png').chmod(0)
        with pytest.raises(ValueError, match=r"^image 'closed.png' cannot be read whole: Permission denied"):
            read('closed.png')

    def test_memory_that_is_not_there(self, monkeypatch):
        def load(self):
            raise MemoryError

        monkeypatch.setattr('PIL.ImageFile.ImageFile.load', load)
        with pytest.raises(ValueError, match=r"^image 'image' cannot be read whole: MemoryError$"):
            seen(coded(PIXELS, 'BMP'))

    def test_large_images_are_read_without_a_warning_up_to_the_limit(self, monkeypatch):
        monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 20)
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            assert np.array_equal(seen(coded(PIXELS)), PIXELS)
            with pytest.raises(ValueError, match=r"^image 'image' .*\(48 pixels\) exceeds limit of 40 pixels"):
                seen(coded(np.zeros((6, 8), np.uint8)))

    def test_what_follows_an_image_is_no_damage(self):
        assert np.array_equal(seen(coded(PIXELS, 'JPEG') + bytes(1000)), seen(coded(PIXELS, 'JPEG')))


class TestPredict:
    def test_damaged_images_cost_no_others(self, capsys, monkeypatch):
        torch = pytest.importorskip('torch')
        pytest.importorskip('timm')
        from ranet_mm.cli import predict

        class Model(torch.nn.Module):
            num_classes = 2
            pretrained_cfg = dict(input_size=(3, 8, 8), crop_pct=1.0)

            def forward(self, images):
                return images.new_zeros(len(images), 2)

        monkeypatch.setattr(predict, 'load', lambda *args: Model())
        Path('many').mkdir()
        for name, content in {**DAMAGED, 'whole.png': coded(PIXELS), 'whole.jpg': coded(PIXELS, 'JPEG')}.items():
            Path('many', name).write_bytes(content)
        Path('many/nowhere.png').symlink_to('missing.png')
        assert predict.main(['many/*', '--json', 'found.json']) == 1
        out, err = capsys.readouterr()
        for name in [*(n for n in DAMAGED if n != 'page.eps'), 'nowhere.png']:
            assert f"image 'many/{name}' cannot be read whole: " in err
            assert name not in out
        assert err.count('\n') == 1
        assert {i['image'] for i in json.loads(Path('found.json').read_text())['images']} == {
            'many/whole.png',
            'many/whole.jpg',
        }


# Each kind of file with the pixels, (32, 32, 3), that are to be seen.
SIDE = np.linspace(0, 255, 32).astype(np.uint8)
PHOTO = np.dstack([np.add.outer(SIDE // 2, SIDE // 2), np.outer(SIDE, SIDE) // 255, np.repeat(SIDE[:, None], 32, 1)])
PHOTO = PHOTO.astype(np.uint8)
JPEG = np.array(Image.open(BytesIO(coded(PHOTO, 'JPEG'))))
TWINS = {
    'tagged.jpg': (coded(PHOTO, 'JPEG', exif=orientation(6)), np.rot90(JPEG, -1)),
    'turned.tif': (coded(PHOTO[..., 0], 'TIFF', exif=orientation(3)), grey(np.rot90(PHOTO[..., 0], 2))),
    'deep.png': (coded(PHOTO[..., 1].astype(np.uint16) * 257), grey(PHOTO[..., 1])),
    'float.tif': (coded(PHOTO[..., 0] / np.float32(255), 'TIFF'), grey(PHOTO[..., 0])),
    'clear.png': (coded(np.dstack([PHOTO, SIDE[None].repeat(32, 0)])), on_white(PHOTO, SIDE[None].repeat(32, 0))),
}


@pytest.fixture
def twins():
    """Pairs of paths: of a file, and of a PNG file of what it shows."""
    pairs = []
    for name, (content, pixels) in TWINS.items():
        Path(name).write_bytes(content)
        pairs.append((name, f'twin-{Path(name).stem}.png'))
        Image.fromarray(pixels.astype(np.uint8)).save(pairs[-1][1])
    return pairs


class TestOpenMMLab:
    @pytest.fixture(autouse=True)
    def _installed(self):
        pytest.importorskip('mmpretrain')

    @pytest.fixture(scope='class')
    def inferencer(self):
        mmpretrain = pytest.importorskip('mmpretrain')
        return mmpretrain.ImageClassificationInferencer('att56_cifar10', device='cpu')

    @pytest.mark.slow('three programs on images of every format')
    def test_inferencer_predict_and_test_give_each_file_the_answer_of_its_twin(self, inferencer, twins):
        from ranet_mm.cli import predict, test
        from ranet_mm.lab import predictions

        scores = {}
        for path, twin in twins:
            (scores[path],) = (found['pred_scores'] for found in inferencer(path))
            assert np.array_equal(scores[path], inferencer(twin)[0]['pred_scores'])
            assert np.array_equal(scores[path], inferencer(np.array(Image.open(twin))[..., ::-1])[0]['pred_scores'])
        assert predict.main([*scores, '--json', 'found.json']) == 0
        for image in json.loads(Path('found.json').read_text())['images']:
            by_name = {guess['label']: guess['probability'] for guess in image['predictions']}
            np.testing.assert_allclose([by_name[c] for c in inferencer.classes], scores[image['image']], atol=1e-5)
        for name, paths in zip(inferencer.classes, [*scores, *dict(twins).values()], strict=True):
            place = Path('data/test', name, Path(paths).name)
            place.parent.mkdir(parents=True)
            place.symlink_to(Path(paths).absolute())
        Path('data/train').symlink_to('test')
        argv = ['ranet/att56_cifar10', 'ranet_mm://attention56_cifar.cifar10', '--dump', 'all.npz', '--cfg-options']
        in_process = ['test_dataloader.num_workers=0', 'test_dataloader.persistent_workers=False']
        assert test.main([*argv, 'folder=data', 'holdout=0', *in_process]) == 0
        dumped = predictions.read('all.npz')
        order = np.argsort(inferencer.classes).argsort()
        assert len(order) == len(dumped.scores) == 2 * len(twins)
        np.testing.assert_allclose(dumped.scores.numpy()[order][: len(twins)], [*scores.values()], atol=1e-5)
        np.testing.assert_allclose(dumped.scores.numpy()[order][len(twins) :], [*scores.values()], atol=1e-5)

    def test_features_are_those_of_the_twin(self, twins):
        import mmpretrain

        extractor = mmpretrain.FeatureExtractor('att56_cifar10', device='cpu')
        for path, twin in twins[:2]:
            assert np.array_equal(extractor(path)[0][0], extractor(twin)[0][0])

    def test_inferencer_draws_what_it_classified(self, inferencer, twins):
        inferencer([*dict(twins)], show_dir='shown')
        inferencer([*dict(twins).values()], show_dir='shown')
        for path, twin in twins:
            ours, theirs = (np.array(Image.open(f'shown/{Path(p).stem}.png')) for p in (path, twin))
            assert np.array_equal(ours, theirs)

    def test_inferencer_names_a_damaged_file(self, inferencer):
        Path('cut.png').write_bytes(DAMAGED['cut.png'])
        with pytest.raises(ValueError, match=r"^image 'cut.png' cannot be read whole: "):
            inferencer('cut.png')
        with pytest.raises(TypeError, match=r'must be a numpy array or a str or'):  # as mmpretrain says
            inferencer(Image.new('RGB', (32, 32)))

    def test_models_of_others_read_as_before(self, inferencer, twins, monkeypatch):
        import mmcv
        from mmengine.dataset import Compose

        monkeypatch.setattr(inferencer, 'pipeline', Compose([lambda results: results]))
        for path in ('tagged.jpg', 'turned.tif', 'deep.png', 'clear.png'):  # OpenCV reads no other of them
            (batch,) = inferencer.preprocess([path])
            assert np.array_equal(batch['img'][0], mmcv.imread(path))

    def test_load_image(self, twins):
        from ranet_mm.mm.data.load_image import LoadImage

        for path, twin in twins:
            results = LoadImage()(dict(img_path=path))
            assert np.array_equal(results['img'], np.array(Image.open(twin)))
            assert results['img_shape'] == results['ori_shape'] == (32, 32)
            floats = LoadImage(to_float32=True)(dict(img_path=Path(path)))['img']
            assert floats.dtype == np.float32
            assert np.array_equal(floats, results['img'])
        kept = dict(img=GREY, sample_idx=0)
        assert LoadImage()(kept) is kept

    @pytest.mark.parametrize(
        ('array', 'expected'),
        [
            (PIXELS, PIXELS[..., ::-1]),
            (GREY, grey(GREY)),
            (GREY[..., None], grey(GREY)),
            (WIDE, grey(WIDE >> 8)),
            (PIXELS / 255, PIXELS[..., ::-1]),
            (PIXELS.astype(np.float32), PIXELS[..., ::-1]),
        ],
    )
    def test_arrays_of_an_inferencer(self, array, expected):
        from ranet_mm.mm.data.load_image import LoadImage

        assert np.array_equal(LoadImage()(dict(img=array))['img'], expected)

    @pytest.mark.parametrize('array', [np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros(4)])
    def test_arrays_that_are_no_image(self, array):
        from ranet_mm.mm.data.load_image import LoadImage

        with pytest.raises(ValueError, match=r'^image array of the shape .* is not allowed: it must be \(H, W, 3\)'):
            LoadImage()(dict(img=array))
        with pytest.raises(ValueError, match=r'^image array is not allowed: its values are from -1 to -1'):
            LoadImage()(dict(img=np.full((4, 4), -1.0)))

    def test_addresses(self, twins):
        from ranet_mm.mm.data.load_image import LoadImage

        with ThreadingHTTPServer(('127.0.0.1', 0), partial(Quiet, directory='.')) as server:
            Thread(target=server.serve_forever, daemon=True).start()
            address = f'http://127.0.0.1:{server.server_port}/'
            for path, twin in twins[:1]:
                assert np.array_equal(LoadImage()(dict(img_path=address + path))['img'], np.array(Image.open(twin)))
            with pytest.raises(ValueError, match=rf"^image '{address}no.png' cannot be read whole: .*404"):
                LoadImage()(dict(img_path=f'{address}no.png'))
            server.shutdown()

    def test_device_data(self, twins, monkeypatch):
        from mmpretrain.registry import DATASETS

        for path, twin in twins:
            for name, source in (('tagged', path), ('twin', twin)):
                place = Path('held', path, name, Path(source).name)
                place.parent.mkdir(parents=True)
                place.symlink_to(Path(source).absolute())
            pipeline = [dict(type='ranet_mm.LoadImage'), dict(type='PackInputs')]
            cfg = dict(type='ranet_mm.ImageFolder', root=f'held/{path}', pipeline=pipeline)
            first, second = DATASETS.build(dict(type='ranet_mm.DeviceDataset', dataset=cfg)).store.images
            assert first.equal(second)
        assert len([*Path(f'held/.{path}.decoded').iterdir()]) == 1
        monkeypatch.setattr('ranet_mm.mm.data.device.dataset.RULES', 1)  # decoded by an earlier version
        DATASETS.build(dict(type='ranet_mm.DeviceDataset', dataset=cfg)).full_init()
        assert len([*Path(f'held/.{path}.decoded').iterdir()]) == 2

    def test_training_names_a_damaged_file(self, write_config, images, capsys):
        from ranet_mm.cli import train

        (images / 'train/cat/3.png').write_bytes(DAMAGED['cut.png'])
        config = write_config('train_dataloader.update(num_workers=1)\n')
        assert train.main([config]) == 1
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert error.startswith(f"error: image '{images}/train/cat/3.png' cannot be read whole: ")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass
