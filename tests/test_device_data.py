"""Pictures made on the device: those of the ordinary pipeline, and of (seed, epoch, sample) alone."""

import copy
import json
import pickle
import signal
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms import InterpolationMode
from torchvision.transforms.autoaugment import TrivialAugmentWide, _apply_op

pytest.importorskip('mmpretrain')

from mmengine.config import Config
from mmengine.dataset import default_collate, pseudo_collate
from mmpretrain.datasets import transforms as ordinary
from mmpretrain.registry import DATASETS, MODELS

from ranet_mm.cli import data_speed, overhead, test, train
from ranet_mm.mm.data.datasets import ImageFolder
from ranet_mm.mm.data.device import (
    DeviceDataset,
    DevicePreprocessor,
    EpochSampler,
    cache,
    mixing,
    on_device,
    pipeline,
    transforms,
    trivial,
)
from ranet_mm.mm.data.device.batch import at_once
from ranet_mm.mm.data.device.draws import Draws, mix
from ranet_mm.mm.data.device.preprocessor import resized
from ranet_mm.mm.data.identity import fingerprint
from ranet_mm.mm.engine.provenance import data_digest
from ranet_mm.weights.read import read as read_checkpoint

ROOT = Path(__file__).parents[1]
LOAD, PACK = dict(type='ranet_mm.LoadImage'), dict(type='PackInputs')
AUGMENTS = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='RandomErasing', mode='rand', fill_color=[100, 110, 120], fill_std=[50, 60, 70]),
]
NORM = dict(num_classes=10, mean=[125.307, 122.961, 113.8575], std=[51.5865, 50.847, 51.255])
MIX = dict(augments=[dict(type='Mixup', alpha=0.2), dict(type='CutMix', alpha=1.0)], probs=[0.4, 0.4])


def draws(count, seed=0, epoch=0):
    return Draws(torch.tensor(seed), torch.tensor(epoch), torch.arange(count))


def noise_images(count, channels=3, size=32):
    return torch.randint(256, (count, channels, size, size), generator=torch.manual_seed(0)).to(torch.uint8)


class TestDraws:
    def test_the_generator_is_splitmix64(self):
        """The numbers that the authors' C code gives for the seed 1234567."""
        stream = draws(1)
        stream.state = torch.tensor([1234567])
        found = [stream.bits().item() % 2**64 for _ in range(5)]
        assert found == [
            6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821,
        ]  # fmt: skip

    def test_a_stream_is_of_its_key_alone(self):
        whole, part = draws(10, seed=3, epoch=2), Draws(torch.tensor(3), torch.tensor(2), torch.tensor([7, 4]))
        for _ in range(3):
            assert torch.equal(whole.bits()[[7, 4]], part.bits())
        keys = [(s, e, i) for s in range(20) for e in range(20) for i in range(20)]
        seed, epoch, index = torch.tensor(keys).T
        assert len(Draws(seed, epoch, index).bits().unique()) == len(keys)

    def test_ranges_and_evenness(self):
        stream = draws(100_000)
        uniform, numbers, noise = stream.uniform(2, 5), stream.integers(9), draws(100).noise((3, 50, 20))
        assert 2 <= uniform.min() < 2.001 < 4.999 < uniform.max() < 5
        assert chi_square(((uniform - 2) * 10).long(), 30) < 59.7  # the 99.9 % point of 29 degrees of freedom
        assert chi_square(numbers, 9) < 26.1
        assert chi_square((noise * 256).long(), 256) < 330.5
        assert noise.shape == (100, 3, 50, 20)
        assert 0 < noise.min() < noise.max() < 1
        assert stream.integers(torch.arange(1, 100_001)).lt(torch.arange(1, 100_001)).all()

    def test_one_changed_bit_changes_half_of_the_bits(self):
        x = torch.arange(1000)
        changed = (mix(x) ^ mix(x ^ 1)).view(torch.uint8).numpy()
        assert np.unpackbits(changed).mean() == pytest.approx(0.5, abs=0.01)


def chi_square(values, bins):
    counts = torch.bincount(values.flatten(), minlength=bins).double()
    assert len(counts) == bins
    expected = values.numel() / bins
    return ((counts - expected) ** 2 / expected).sum().item()


def run_ordinary(transform, image):
    """An image (C, H, W) through one of mmpretrain's transforms."""
    return torch.from_numpy(transform(dict(img=image.permute(1, 2, 0).numpy().copy()))['img'].copy()).permute(2, 0, 1)


class TestSamePicturesAsMMPretrain:
    """Given the same random numbers, every picture is that of mmpretrain's transform, bit by bit."""

    def check(self, monkeypatch, name, methods, **options):
        ours = pipeline.build(dict(type=name, **options))
        theirs = getattr(ordinary, name)(**options)
        images = noise_images(100)
        drawn = ours.draw(draws(100), images.shape)
        made = ours.apply(images, **drawn)
        for i, image in enumerate(images):
            for method, value in methods({k: v[i] for k, v in drawn.items()}).items():
                monkeypatch.setattr(theirs, method, lambda *args, value=value: value)
            assert torch.equal(made[i], run_ordinary(theirs, image)), (i, drawn)
        return drawn

    @pytest.mark.parametrize(
        'options', [dict(crop_size=32, padding=4), dict(crop_size=24, padding=2, pad_val=(9, 8, 7))]
    )
    def test_random_crop(self, monkeypatch, options):
        size = options['crop_size']
        self.check(
            monkeypatch,
            'RandomCrop',
            lambda drawn: dict(rand_crop_params=(int(drawn['top']), int(drawn['left']), size, size)),
            **options,
        )

    @pytest.mark.parametrize('direction', ['horizontal', 'vertical', 'diagonal'])
    def test_random_flip(self, monkeypatch, direction):
        drawn = self.check(
            monkeypatch,
            'RandomFlip',
            lambda drawn: dict(_choose_direction=direction if drawn['flip'] else None),
            prob=0.3,
            direction=direction,
        )
        assert 0.2 < drawn['flip'].float().mean() < 0.4

    @pytest.mark.parametrize('options', [dict(), dict(fill_color=(123.67, 116.28, 103.53), erase_prob=0.9)])
    def test_random_erasing(self, monkeypatch, options):
        def methods(drawn):
            patch = tuple(int(drawn[k]) for k in ('top', 'left', 'height', 'width'))
            return dict(random_disable=patch[2] == 0, random_patch=patch)

        drawn = self.check(monkeypatch, 'RandomErasing', methods, **options)
        area = (drawn['height'] * drawn['width'])[drawn['height'] > 0] / 32**2
        assert 0.015 < area.min() < 0.05 < 0.35 < area.max() < 0.43
        assert (drawn['top'] + drawn['height'] <= 32).all() and (drawn['left'] + drawn['width'] <= 32).all()

    def test_cutout(self, monkeypatch):
        ours, images = transforms.Cutout(shape=10, pad_val=(1, 2, 3), prob=0.8), noise_images(100)
        drawn = ours.draw(draws(100), images.shape)
        made = ours.apply(images, **drawn)
        theirs = ordinary.Cutout(shape=10, pad_val=(1, 2, 3), prob=1.0)
        for i, image in enumerate(images):
            corner = iter([drawn['top'][i] + 5.25, drawn['left'][i] + 5.25])
            monkeypatch.setattr(np.random, 'uniform', lambda *args, corner=corner: float(next(corner)))
            assert torch.equal(made[i], run_ordinary(theirs, image) if drawn['cut'][i] else image)

    def test_cutout_has_its_middle_at_any_pixel(self):
        drawn = transforms.Cutout(shape=10).draw(draws(10_000), (10_000, 3, 24, 48))
        for places, side in ((drawn['top'], 24), (drawn['left'], 48)):
            assert places.max() == side - 6
            assert places.eq(0).float().mean() == pytest.approx(6 / side, abs=0.02)

    def test_alternating_flip(self):
        """Half of the images are mirrored, each in every second epoch; another seed picks another half."""
        flip, shape = pipeline.build(dict(type='ranet_mm.AlternatingFlip')), noise_images(1).shape
        epochs = [flip.draw(draws(10_000, epoch=e), shape)['flip'] for e in range(4)]
        assert epochs[0].float().mean() == pytest.approx(0.5, abs=0.02)
        for before, after in pairwise(epochs):
            assert torch.equal(before, ~after)
        other = flip.draw(draws(10_000, seed=1), shape)['flip']
        assert (epochs[0] ^ other).float().mean() == pytest.approx(0.5, abs=0.02)
        crop = transforms.RandomCrop(32, padding=4).draw(draws(10_000), shape)
        assert crop['top'][epochs[0]].float().mean() == pytest.approx(4, abs=0.15)  # not of the same random bits

    def test_all_offsets_are_equally_frequent(self):
        drawn = transforms.RandomCrop(32, padding=4).draw(draws(81_000), noise_images(1).shape)
        assert chi_square(drawn['top'] * 9 + drawn['left'], 81) < 124.8  # the 99.9 % point of 80 degrees of freedom

    def test_noise_fills_the_rectangle_alone(self):
        images = torch.full((500, 3, 32, 32), 255, dtype=torch.uint8)
        for options, mean, std in ((dict(), 127.5, 73.9), (dict(fill_color=100, fill_std=20), 99.5, 20)):
            erasing = transforms.RandomErasing(erase_prob=1.0, mode='rand', **options)
            drawn = erasing.draw(draws(500), images.shape)
            mask = transforms.box_mask(images.shape, *(drawn[k] for k in ('top', 'left', 'height', 'width')))
            made = erasing.apply(images, **drawn)
            inside = made[mask.expand_as(made)].float()
            assert (made[~mask.expand_as(made)] == 255).all()
            assert inside.mean() == pytest.approx(mean, abs=0.3)
            assert inside.std() == pytest.approx(std, abs=0.3)


SPACE = TrivialAugmentWide()._augmentation_space(trivial.BINS)


class TestTrivialAugment:
    """Each change at each strength gives the bytes that torchvision gives on a Pillow image."""

    @pytest.fixture(scope='class')
    def images(self):
        wave = torch.arange(32).div(5).sin()
        waves = torch.stack([128 + 60 * wave[:, None] + 50 * wave.roll(k) for k in range(3)]).to(torch.uint8)
        noise = noise_images(1)[0]
        return torch.stack([noise, waves, noise // 4 + 60, torch.full_like(noise, 77)])

    @pytest.mark.parametrize('name', SPACE)
    def test_one_change(self, images, name):
        magnitudes, signed = SPACE[name]
        number = trivial.NUMBER[name]
        assert signed == (number < trivial.SIGNED)
        for level in range(0, trivial.BINS, 3):
            strength = trivial.strengths(images.device)[number, level]
            magnitude = magnitudes[level].item() if magnitudes.ndim else 0.0
            for sign in (1, -1) if signed else (1,):
                drawn = dict(change=torch.full((4,), number), strength=(sign * strength).expand(4))
                made = trivial.TrivialAugmentWide().apply(images, **drawn)
                for image, found in zip(images, made, strict=True):
                    pillow = Image.fromarray(image.permute(1, 2, 0).numpy())
                    expected = np.array(_apply_op(pillow, name, sign * magnitude, InterpolationMode.NEAREST, None))
                    assert torch.equal(found, torch.from_numpy(expected).permute(2, 0, 1)), (level, sign)

    def test_changes_are_drawn_evenly_and_do_not_meet(self, images):
        drawn = trivial.TrivialAugmentWide().draw(draws(14_000), noise_images(1).shape)
        assert chi_square(drawn['change'], 14) < 34.5  # the 99.9 % point of 13 degrees of freedom
        turned = drawn['strength'][drawn['change'] == trivial.NUMBER['Rotate']]
        assert len(turned.unique()) == 61
        assert turned.lt(0).double().mean() == pytest.approx(0.5, abs=0.06)
        some = {name: value[:64] for name, value in drawn.items()}
        batch = images.repeat(16, 1, 1, 1)
        whole = trivial.TrivialAugmentWide().apply(batch, **some)
        for i in range(64):
            one = trivial.TrivialAugmentWide().apply(batch[i : i + 1], **{k: v[i : i + 1] for k, v in some.items()})
            assert torch.equal(one[0], whole[i])

    def test_grey_images_are_refused(self):
        with pytest.raises(ValueError, match='1 channels are not allowed with TrivialAugmentWide'):
            trivial.TrivialAugmentWide().draw(draws(2), torch.Size([2, 1, 32, 32]))


def device_data(cfg=None, **options):
    cfg = cfg or dict(type='ranet_mm.Digits', split='test', pipeline=[*AUGMENTS, PACK], indices=list(range(60)))
    return DATASETS.build(dict(type='ranet_mm.DeviceDataset', dataset=cfg, **options))


def preprocessor(**options):
    return MODELS.build(dict(type='ranet_mm.DevicePreprocessor', **NORM, **options))


def loader(data, batch_size=16, epoch=0, seed=0, collate=default_collate, **options):
    sampler = EpochSampler(data, shuffle=True, seed=seed)
    sampler.set_epoch(epoch)
    return DataLoader(data, batch_size, sampler=sampler, collate_fn=collate, **options)


def pictures(data, preprocessor, count=None, **options):
    """Index -> (picture, label or soft label) of an epoch, or of its first batches."""
    found = {}
    for _, batch in zip(range(count or len(data)), loader(data, **options), strict=False):
        out = preprocessor(batch, training=True)
        for i, image, sample in zip(batch['inputs'], out['inputs'], out['data_samples'], strict=True):
            found[int(i)] = image, sample.get('gt_score', sample.gt_label)
    return found


def assert_same(a, b):
    assert a and a.keys() <= b.keys()
    for index, (image, label) in a.items():
        assert torch.equal(image, b[index][0]) and torch.equal(label, b[index][1])


class TestPicturesAreOfTheirKeyAlone:
    @pytest.mark.parametrize('collate', [default_collate, pseudo_collate])
    def test_batches_order_and_loader_do_not_matter(self, collate):
        data, made = device_data(), preprocessor(batch_augments=MIX)
        whole = pictures(data, made, batch_size=25, collate=collate)
        assert len(whole) == len(data) == 60
        assert_same(pictures(data, made, 4, batch_size=7), whole)
        reverse = default_collate([data[key] for key in reversed(list(loader(data).sampler)[:9])])
        out = made(reverse, training=True)
        assert all(torch.equal(out['inputs'][i], whole[int(n)][0]) for i, n in enumerate(reverse['inputs']))

    def test_at_once_is_the_batch_of_single_items(self):
        data, made = device_data(), preprocessor(batch_augments=MIX)
        assert_same(pictures(data, made, collate=at_once), pictures(data, made))
        (plain,) = DataLoader(data, 60, collate_fn=at_once)
        assert plain['inputs'].tolist() == list(range(60)) and plain.keys() == {'inputs', 'store'}
        assert plain['store'] is default_collate([data[0], data[1]])['store'] is data.store
        with pytest.raises(ValueError, match=r"collate_fn='ranet_mm\.at_once' is not allowed"):
            at_once([dict(inputs=1)])

    def test_data_workers_do_not_matter(self):
        data, made = device_data(), preprocessor(batch_augments=MIX)
        assert_same(pictures(data, made, num_workers=1), pictures(data, made))

    def test_what_a_data_worker_hands_on_has_no_copies(self):
        """A GPU's memory is no other process's."""
        store = device_data().store
        assert store.on(torch.device('meta')) is store.on(torch.device('meta'))
        sent = pickle.loads(pickle.dumps(store))
        assert (len(store.copies), len(sent.copies), len(sent)) == (1, 0, 60)
        assert torch.equal(sent.on(store.images.device).images, store.images)

    def test_seed_and_epoch_do(self):
        data, made = device_data(), preprocessor()
        first = pictures(data, made)
        for other in (pictures(data, made, epoch=1), pictures(data, made, seed=1)):
            same = [torch.equal(image, other[i][0]) for i, (image, _) in first.items()]
            assert np.mean(same) < 0.02

    def test_processes_share_an_epoch(self, monkeypatch):
        data, made = device_data(), preprocessor(batch_augments=MIX)
        whole, parts = pictures(data, made), []
        for rank in range(3):
            monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', lambda rank=rank: (rank, 3))
            parts.append(pictures(data, made))
            assert_same(parts[-1], whole)
        assert set().union(*parts) == set(range(60))
        assert [len(part) for part in parts] == [20] * 3

    def test_two_data_sets_are_told_apart(self):
        train_data, test_data = device_data(dict(type='ranet_mm.Digits', split='train')), device_data()
        batches = [default_collate([data[0]]) for data in (train_data, test_data)]
        labels = [preprocessor()(batch)['data_samples'][0].gt_label.item() for batch in batches[:1]]
        assert labels == [train_data.get_data_info(0)['gt_label']]
        with pytest.raises(ValueError, match=r"its type must be 'ranet_mm\.EpochSampler'"):
            preprocessor()(batches[1], training=True)


class TestEvaluation:
    def test_the_ordinary_batch_exactly(self, images):
        cfg = dict(type='ranet_mm.ImageFolder', root=str(images / 'test'), pipeline=[LOAD, PACK])
        same = [DATASETS.build(cfg), device_data(cfg)]
        batches = [default_collate([data[i] for i in (3, 11, 0)]) for data in same]
        ours, theirs = preprocessor(), MODELS.build(dict(type='ClsDataPreprocessor', **NORM))
        expected, found = theirs(batches[0]), ours(batches[1])
        assert torch.equal(found['inputs'], expected['inputs'])
        assert found['inputs'].dtype == torch.float32
        for a, b in zip(expected['data_samples'], found['data_samples'], strict=True):
            assert torch.equal(a.gt_label, b.gt_label)
            assert (a.sample_idx, a.img_path) == (b.sample_idx, b.img_path)
        through = ours(default_collate([same[0][i] for i in (3, 11, 0)]))
        assert torch.equal(through['inputs'], expected['inputs'])
        with pytest.raises(ValueError, match='size is not allowed without'):
            preprocessor(size=16)(default_collate([same[0][0]]), training=True)

    def test_mixing_and_resizing_are_for_training(self):
        data = device_data(dict(type='ranet_mm.Digits', split='test', pipeline=[PACK]))
        made = preprocessor(batch_augments=dict(augments=dict(type='Mixup', alpha=1.0)), size=16)
        batch = next(iter(loader(data)))
        for training, size in ((False, 32), (True, 16)):
            out = made(batch, training)
            assert out['inputs'].shape == (16, 3, size, size)
        assert preprocessor()(batch)['inputs'].equal(made(batch)['inputs'])

    @pytest.mark.parametrize('side', [16, 24])
    def test_resized_as_on_the_ordinary_path(self, side):
        images = noise_images(8)
        expected = torch.nn.functional.interpolate(images, size=(side, side), mode='bilinear', antialias=True)
        assert (resized(images, side) - expected.float()).abs().max() <= 1  # of 255: uint8 is computed in whole numbers


class TestMixing:
    """On pictures of one grey value each, of which every sample is a class of its own."""

    @pytest.fixture
    def greys(self, tmp_path):
        for i in range(50):
            (tmp_path / f'greys/{i:02d}').mkdir(parents=True)
            Image.new('RGB', (16, 16), (5 * i,) * 3).save(tmp_path / f'greys/{i:02d}/grey.png')
        return device_data(dict(type='ranet_mm.ImageFolder', root=str(tmp_path / 'greys'), pipeline=[LOAD, PACK]))

    def mixed(self, data, batch_augments, epochs=1):
        made = DevicePreprocessor(num_classes=50, batch_augments=batch_augments)
        found = [out for epoch in range(epochs) for out in pictures(data, made, epoch=epoch).items()]
        indices, pairs = zip(*found, strict=True)
        return torch.tensor(indices), torch.stack([p[0] for p in pairs]), torch.stack([p[1] for p in pairs])

    @pytest.mark.parametrize(('kind', 'share'), [('Mixup', 0.5), ('CutMix', 0.72)])  # CutMix's boxes leave the picture
    def test_a_label_says_what_its_picture_shows(self, greys, kind, share):
        indices, images, scores = self.mixed(greys, dict(augments=dict(type=kind, alpha=1.0)), epochs=4)
        assert scores.sum(1) == pytest.approx(torch.ones(200), abs=1e-6)
        assert images.mean((1, 2, 3)) == pytest.approx(scores @ (5.0 * torch.arange(50)), abs=1e-3)
        assert ((scores > 0).sum(1) <= 2).all()
        own = scores[torch.arange(200), indices]
        assert own.mean() == pytest.approx(share, abs=0.07)
        values = [len(image.unique()) for image in images]
        assert max(values) == (1 if kind == 'Mixup' else 2)
        partners = scores.scatter(1, indices[:, None], 0).argmax(1)
        assert len(partners.unique()) > 45

    def test_shares_of_kinds(self, greys):
        _, images, scores = self.mixed(greys, MIX, epochs=20)
        alone = (scores.max(1).values == 1).float().mean()
        cut = torch.tensor([len(image.unique()) == 2 for image in images]).float().mean()
        assert alone == pytest.approx(0.2 + 0.8 * 0.02 + 0.4 * 0.05, abs=0.1)  # kept, its own partner, an empty box
        assert cut == pytest.approx(0.4, abs=0.06)

    @pytest.mark.parametrize('alpha', [0.2, 1.0, 3.0])
    def test_quantiles_are_those_of_beta(self, alpha):
        quantiles = mixing.beta_quantiles(alpha).double()
        assert quantiles.mean() == pytest.approx(0.5, abs=1e-6)
        assert quantiles.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=1e-3)
        assert quantiles.diff().ge(0).all() and 0 <= quantiles[0] <= quantiles[-1] <= 1

    @pytest.mark.parametrize(
        ('batch_augments', 'error', 'message'),
        [
            (dict(augments=dict(type='ResizeMix', alpha=1.0)), ValueError, 'it must be one of Mixup, CutMix'),
            (dict(augments=dict(type='CutMix', alpha=1.0, correct_lam=False)), TypeError, "no option 'correct_lam'"),
            (dict(augments=dict(type='Mixup', alpha=1.0), num_classes=None), ValueError, 'number of classes'),
        ],
    )
    def test_wrong_options(self, batch_augments, error, message):
        options = {**NORM, **{k: batch_augments.pop(k) for k in ('num_classes',) if k in batch_augments}}
        with pytest.raises(error, match=message):
            DevicePreprocessor(**options, batch_augments=batch_augments)


class TestDataSet:
    def test_pipeline_is_split(self, images):
        pipeline = [LOAD, dict(type='Resize', scale=16), dict(type='RandomCrop', crop_size=12), PACK]
        data = device_data(dict(type='ranet_mm.ImageFolder', root=str(images / 'train'), pipeline=pipeline))
        assert data.store.images.shape == (12, 3, 16, 16)
        assert data.transforms == [transforms.RandomCrop(12)]
        assert data.metainfo['classes'] == ('cat', 'dog')

    def test_digest_is_that_of_the_data(self, images):
        cfg = dict(type='ranet_mm.ImageFolder', root=str(images / 'train'), pipeline=[LOAD, PACK])
        assert data_digest(device_data(cfg)) == data_digest(DATASETS.build(cfg))

    def test_wrapped_labels_are_those_learnt(self, images):
        inner = dict(type='ranet_mm.ImageFolder', root=str(images / 'train'), pipeline=[LOAD, *AUGMENTS, PACK])
        data = device_data(dict(type='ranet_mm.LabelNoise', dataset=inner, fraction=0.5))
        labels = data.store.labels
        assert labels.tolist() == data.dataset.labels.tolist()
        assert (labels != torch.tensor([0] * 6 + [1] * 6)).sum() == 6
        assert len(data.transforms) == 3

    @pytest.mark.parametrize(
        ('pipeline', 'error', 'message'),
        [
            ([dict(type='ColorJitter', brightness=0.5)], ValueError, 'transform ColorJitter is not allowed'),
            ([AUGMENTS[0], dict(type='Lighting')], ValueError, "type='Lighting' is not allowed on the device"),
            ([dict(type='RandomCrop', crop_size=32, pad_if_needed=True)], TypeError, "no option 'pad_if_needed'"),
            ([dict(type='ranet_mm.AlternatingFlip', prob=0.3)], TypeError, "'prob' on the device: it has direction"),
            ([dict(type='RandomFlip', direction='left')], ValueError, "direction='left' is not allowed"),
            ([dict(type='RandomErasing', mode='pixel')], ValueError, "mode='pixel' is not allowed"),
        ],
    )  # fmt: skip
    def test_transforms_unknown_on_the_device(self, pipeline, error, message):
        with pytest.raises(error, match=message):
            device_data(dict(type='ranet_mm.Digits', pipeline=pipeline))

    def test_images_that_do_not_fit(self, images):
        cfg = dict(type='ranet_mm.ImageFolder', root=str(images / 'train'), pipeline=[LOAD])
        Image.new('RGB', (31, 32)).save(images / 'train/dog/5.png')
        with pytest.raises(ValueError, match=r'dog/5\.png.* of the shape \(3, 32, 31\) is not allowed'):
            device_data(cfg).full_init()
        with pytest.raises(ValueError, match='the pipeline must load it as uint8'):
            device_data({**cfg, 'pipeline': []}).full_init()
        crop = dict(type='RandomCrop', crop_size=40, padding=2)
        small = device_data(dict(type='ranet_mm.Digits', pipeline=[crop]))
        with pytest.raises(ValueError, match='crop_size=40 is not allowed: it must be at most 32'):
            preprocessor()(next(iter(loader(small))), training=True)


@pytest.mark.parametrize('to_onehot', [True, False])
def test_samples_of_evaluation_have_scores_where_the_loss_takes_them(to_onehot):
    batch = next(iter(loader(device_data())))
    samples = preprocessor(to_onehot=to_onehot)(batch, training=False)['data_samples']
    assert all(('gt_score' in sample) == to_onehot for sample in samples)
    assert not to_onehot or all(sample.gt_score.argmax() == sample.gt_label.item() for sample in samples)


class TestCache:
    @pytest.fixture
    def cfg(self, images):
        return dict(type='ranet_mm.ImageFolder', root=str(images / 'train'), pipeline=[LOAD, PACK])

    def test_is_read_instead_of_the_images(self, cfg, monkeypatch):
        first = device_data(cfg, cache='cache').store
        monkeypatch.setattr(DeviceDataset, 'picture', None)
        again = device_data(cfg, cache='cache').store
        assert torch.equal(first.images, again.images) and torch.equal(first.labels, again.labels)

    def test_other_data_get_another_file(self, cfg, images):
        plain, *others = (
            device_data({**cfg, 'pipeline': loading}, cache='cache')
            for loading in ([LOAD], [LOAD, dict(type='Resize', scale=16)], [dict(type='LoadImageFromFile')])
        )
        for data in (plain, *others):
            data.full_init()
        assert plain.fingerprint == fingerprint(ImageFolder(cfg['root'], pipeline=[LOAD]))
        assert [data.fingerprint for data in others] == [None, None]
        Image.new('RGB', (32, 32)).save(images / 'train/dog/5.png')
        changed = device_data(cfg, cache='cache').store
        assert changed.images[11].eq(0).all()
        assert len(list(Path('cache').iterdir())) == 4

    @pytest.mark.parametrize('damage', [lambda b: b[:-100], lambda b: b[:3000] + bytes([b[3000] ^ 1]) + b[3001:]])
    def test_damaged_file_is_refused(self, cfg, damage):
        device_data(cfg, cache='cache').full_init()
        (path,) = Path('cache').iterdir()
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(
            ValueError, match=r"cache file '.*' is not allowed: it is damaged or of other data; remove it"
        ):
            device_data(cfg, cache='cache').full_init()

    def test_is_beside_the_images_and_shared_by_all_parts(self, cfg, images, monkeypatch):
        """Training, held-out and all images take their rows of one file, which no class folder shows."""
        parts = [dict(holdout=3), dict(holdout=3, held_out=True), dict()]
        whole = device_data(cfg, cache=False).store
        decode, decoded = DeviceDataset.picture, []
        monkeypatch.setattr(
            DeviceDataset, 'picture', lambda self, sample, *args: decoded.append(1) or decode(self, sample, *args)
        )
        stores = [device_data({**cfg, **part}).store for part in parts]
        assert len(decoded) == 13  # the first one once more, for its shape
        rows = [i for i in range(12) if i % 6 % 3 != 2], [2, 5, 8, 11], list(range(12))
        for store, chosen in zip(stores, rows, strict=True):
            assert torch.equal(store.images, whole.images[list(chosen)])
            assert torch.equal(store.labels, whole.labels[list(chosen)])
        assert [path.name for path in images.iterdir() if path.name.startswith('.')] == ['.train.decoded']
        assert len(list((images / '.train.decoded').iterdir())) == 1

    def test_leaves_no_trace_in_random_numbers(self, cfg):
        torch.manual_seed(0)
        expected = torch.rand(1)
        for _ in range(2):  # decoded, and read
            torch.manual_seed(0)
            device_data(cfg).full_init()
            assert torch.equal(torch.rand(1), expected)

    def test_a_folder_that_cannot_be_written(self, cfg, images, monkeypatch):
        def write(*args):
            raise PermissionError(13, 'Permission denied')

        monkeypatch.setattr(cache, 'write', write)
        assert device_data(cfg).store.images.shape == (12, 3, 32, 32)
        assert not (images / '.train.decoded').exists()

    def test_many_are_decoded_by_several_processes(self):
        count = cache.FEW + 100
        found = cache.decoded(count, lambda i: torch.full((1, 2, 2), i % 251, dtype=torch.uint8), workers=2)
        assert found[:, 0, 1, 1].tolist() == [i % 251 for i in range(count)]

    def test_file_of_other_data_is_refused(self, cfg, tmp_path):
        path, images = tmp_path / 'other.pt', torch.zeros(1)
        cache.write(path, 'of these', dict(images=images))
        assert cache.read(path, 'of these')['images'] == images
        with pytest.raises(ValueError, match='of other data'):
            cache.read(path, 'of those')
        torch.save([1, 2], path)
        with pytest.raises(ValueError, match='it is damaged'):
            cache.read(path, 'of these')


class TestConfigs:
    @pytest.mark.parametrize('name', ['cifar10', 'cifar100', 'digits'])
    def test_what_is_moved(self, name):
        cfg = Config.fromfile(ROOT / f'configs/_base_/datasets/{name}.py')
        before = copy.deepcopy(cfg)
        on_device(cfg)
        on_device(cfg)  # what is there stays there
        assert cfg.test_dataloader == before.test_dataloader
        for loader in ('train_dataloader', 'val_dataloader'):
            assert cfg[loader].dataset == dict(type='ranet_mm.DeviceDataset', dataset=before[loader].dataset)
            assert (cfg[loader].num_workers, cfg[loader].collate_fn) == (0, dict(type='ranet_mm.at_once'))
        assert cfg.data_preprocessor == dict(before.data_preprocessor, type='ranet_mm.DevicePreprocessor')
        assert cfg.train_dataloader.sampler == dict(type='ranet_mm.EpochSampler', shuffle=True)
        assert cfg.val_dataloader.sampler == before.val_dataloader.sampler  # it has no random pictures

    @pytest.mark.parametrize('name', ['att56_cifar10_best', 'att56_cifar100_best', 'att56_cifar10_progressive'])
    def test_recipes_run_on_the_device(self, name):
        cfg = Config.fromfile(ROOT / f'configs/ranet/{name}.py')
        on_device(cfg)
        _, random = pipeline.split(pipeline.take_pipeline(cfg.train_dataloader.dataset.dataset))
        made = [pipeline.build(transform) for transform in random]
        assert transforms.RandomCrop(32, padding=4) in made
        assert (trivial.TrivialAugmentWide() in made) == name.endswith('best')
        MODELS.build({**cfg.data_preprocessor, 'batch_augments': cfg.model.get('train_cfg')})

    def test_other_samplers_are_refused(self):
        cfg = Config.fromfile(ROOT / 'configs/_base_/datasets/digits.py')
        cfg.train_dataloader.sampler.type = 'RepeatAugSampler'
        with pytest.raises(ValueError, match='sampler RepeatAugSampler of train_dataloader is not allowed'):
            on_device(cfg)


CONFIG = """
_base_ = [
    {root!r} + '/configs/_base_/models/att56_cifar.py',
    {root!r} + '/configs/_base_/datasets/cifar10.py',
    {root!r} + '/configs/_base_/schedules/sgd_cosine.py',
    {root!r} + '/configs/_base_/default_runtime.py',
]
model = dict(
    backbone=dict(width=0.125, stem_pool=True, stem_stride=2),
    head=dict(num_classes=2, in_channels=128),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.2), dict(type='CutMix', alpha=1.0)]),
)
folder, on_device = {images!r}, True
data_preprocessor = dict(num_classes=2)
train_dataloader = dict(batch_size=2, dataset=dict(holdout=0))
val_dataloader = dict(batch_size=4, dataset=dict(root={images!r} + '/test', holdout=0, held_out=False))
test_dataloader = dict(batch_size=4, num_workers=0)
train_cfg = dict(max_epochs=2)
default_hooks = dict(checkpoint=dict(save_best=None))
"""


class TestTraining:
    @pytest.mark.slow('two runs')
    def test_resumed_run_ends_as_if_never_interrupted(self, images, tmp_path, monkeypatch):
        config = tmp_path / 'device.py'
        config.write_text(CONFIG.format(root=str(ROOT), images=str(images)))
        assert train.main([str(config), '--work-dir', 'whole']) == 0
        with monkeypatch.context() as patch:
            interrupt(patch, 8)
            assert train.main([str(config), '--work-dir', 'cut']) == 130
        assert train.main([str(config), '--work-dir', 'cut', '--resume']) == 0
        whole, cut = (read_checkpoint(f'{folder}/epoch_2.pth') for folder in ('whole', 'cut'))
        assert not any('data_preprocessor' in key for key in whole['state_dict'])
        for key, value in whole['state_dict'].items():
            assert torch.equal(cut['state_dict'][key], value), key
        record = json.loads(Path('cut/record.json').read_text())
        cfg = dict(type='ranet_mm.ImageFolder', root=str(images / 'train'), pipeline=[LOAD, PACK])
        assert record['data']['train'] == dict(name='images', **data_digest(DATASETS.build(cfg)))
        assert record['images'] == 24
        assert record['curve'][-1]['accuracy/top1'] == record['test']['accuracy/top1']  # of the ordinary pipeline
        tested = test.configure(test.parse_args([str(config), 'cut/epoch_2.pth', '--tta']))
        assert tested.test_dataloader.dataset.pipeline[1].type == 'TestTimeAug'


def interrupt(monkeypatch, step):
    """Send the process a SIGTERM at its n-th training step, of those in which a run listens: else it would end us."""
    steps, original = [], DevicePreprocessor.forward

    def forward(self, data, training=False):
        listens = training and signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        steps.extend([None] * listens)
        if listens and len(steps) == step:
            signal.raise_signal(signal.SIGTERM)
        return original(self, data, training)

    monkeypatch.setattr(DevicePreprocessor, 'forward', forward)


def test_data_speed_measures_both_paths(capsys):
    argv = [str(ROOT / 'configs/ranet/att56_digits.py'), '--rounds', '2', '--batches', '1', '--json', 'speed.json']
    assert data_speed.main(argv) == 0
    lines = capsys.readouterr().out.splitlines()[-3:]
    assert [line.split()[0] for line in lines] == ['ordinary', 'device', 'ratio']
    found = json.loads(Path('speed.json').read_text())
    assert [len(turns) for turns in (*found['microseconds'].values(), found['ratios'])] == [2, 2, 2]
    assert lines[0].split()[1] == f'{sum(found["microseconds"]["ordinary"]) / 2:.1f}'
    with pytest.raises(SystemExit):
        data_speed.main([argv[0], '--rounds', '0'])


@pytest.mark.slow('steps of a whole network')
def test_overhead_is_measured_in_turns(capsys):
    argv = [str(ROOT / 'configs/ranet/att56_digits.py'), '--steps', '3', '--json', 'steps.json', '--debug']
    assert overhead.main(argv) == 0
    head, *lines = capsys.readouterr().out.splitlines()[-6:]
    assert head.split() == ['3', 'steps', 'median', 'lowest', 'highest']
    assert [line[:18].strip(' ,') for line in lines] == [
        'bare loop, ms', 'runner, ms', 'of it hooks, ms', 'of it data, ms', 'runner / bare loop',
    ]  # fmt: skip
    found = json.loads(Path('steps.json').read_text())
    assert [len(values) for values in found['milliseconds'].values()] == [3] * 4 and len(found['ratios']) == 3
    for whole, *parts in zip(*(found['milliseconds'][n] for n in ('runner', 'of it hooks', 'of it data')), strict=True):
        assert 0 < sum(parts) < whole
