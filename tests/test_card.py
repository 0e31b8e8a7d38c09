"""The figures of a model card, and that the committed cards are current."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from ranet_mm import weights
from ranet_mm.cli.card import calibration_error, earlier, figures, load, main, predict, ship, still
from ranet_mm.lab.card import interval, limits, render, spread

ROOT = Path(__file__).parents[1]
RECORDS = [json.loads(path.read_text()) for path in (ROOT / 'results').glob('*.json')]


def record(seed=0, top1=90.0, **fields):
    settings = dict(
        randomness=dict(seed=seed),
        work_dir=f'run{seed}',
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        train_dataloader=dict(batch_size=64),
    )
    shipped = dict(
        data='CIFAR-10 (JPEG copy)', images=10_000, accuracy=89.96, calibration_error=3.2, sha256='ab',
        per_class=dict(cat=80.0, dog=99.92),
    )  # fmt: skip
    return dict(
        seed=seed, settings=settings, shipped=shipped, config='x.py',
        data=dict(train=dict(name='CIFAR-10 (JPEG copy)', samples=50_000)),
        command='python tools/train.py x.py', commit='abc', versions=dict(torch='2'), hardware='CPU', seconds=120.0,
        curve=[dict(epoch=1)], epochs=1, test={'accuracy/top1': top1}, **fields,
    )  # fmt: skip


def test_calibration_error_by_hand():
    confidence = torch.tensor([0.95, 0.97, 0.51, 0.52])
    right = torch.tensor([1.0, 0.0, 1.0, 0.0])
    expected = (abs(0.95 + 0.97 - 1) + abs(0.51 + 0.52 - 1)) / 4
    assert calibration_error(confidence, right).item() == pytest.approx(expected)
    assert calibration_error(torch.ones(3), torch.ones(3)) == 0


def test_figures():
    scores = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
    found = figures(scores, torch.tensor([0, 1, 1, 1]), ['cat', 'dog'])
    assert (found['images'], found['accuracy']) == (4, 75.0)
    assert found['per_class'] == {'cat': 100.0, 'dog': 66.67}


def test_classes_that_no_image_shows():
    found = figures(torch.eye(3)[[0, 2]], torch.tensor([0, 2]), ['cat', 'cow', 'dog'])
    assert found['per_class'] == {'cat': 100.0, 'cow': None, 'dog': 100.0}
    run = record()
    run['shipped']['per_class'] = found['per_class']
    card = render('net.pets', run, 2**20)
    assert '| cow | - |' in card and 'No image that it was tested on shows cow.' in card and 'weakest on *cat*' in card


def test_labels_follow_the_names_of_the_models_classes(tmp_path):
    pytest.importorskip('mmpretrain')
    for name in ('cat', 'dog'):
        (tmp_path / name).mkdir()
        Image.new('RGB', (8, 8)).save(tmp_path / name / '0.webp')
    pairs, classes = load(str(tmp_path), lambda image: image.size, ('dog', 'cow', 'cat'))
    assert ([*map(pairs.__getitem__, range(2))], classes) == ([((8, 8), 2), ((8, 8), 0)], ['dog', 'cow', 'cat'])


def test_unknown_weights(tmp_path, capsys):
    assert main(['attention1.none', str(tmp_path), str(tmp_path)]) == 1
    assert "weights 'attention1.none' are not known" in capsys.readouterr().err


def test_interval_by_hand():
    """Wilson (1927): 8 of 10 is 49.0 to 94.3 %, and 10 of 10 stays below 100 %."""
    assert interval(80.0, 10) == pytest.approx((49.0, 94.3), abs=0.05)
    assert interval(100.0, 10) == pytest.approx((72.2, 100.0), abs=0.05)


def test_spread_is_over_runs_that_differ_by_seed_alone():
    assert spread(record(0, 90.0), [record(1, 92.0)]) == [dict(seed=0, accuracy=90.0), dict(seed=1, accuracy=92.0)]
    other = record(1)
    other['settings']['train_dataloader'] = dict(batch_size=32)
    with pytest.raises(ValueError, match='record of seed 1 is not allowed: its settings are not those of the run'):
        spread(record(0), [other])
    with pytest.raises(ValueError, match=r'seeds \[0, 0\] are not allowed: each seed counts once'):
        spread(record(0), [record(0)])


def test_spread_is_over_runs_from_the_same_weights():
    """Known by the recipe of the run that made them, or by their file; a resumed run names its own checkpoint."""

    def started(seed, load_from, resume=False, *earlier):
        run = record(seed, **(dict(earlier=[dict(command=c) for c in earlier]) if earlier else {}))
        run['settings'].update(load_from=load_from, resume=resume)
        return run

    scratch = started(0, None)
    assert len(spread(scratch, [started(1, 'work_dirs/a/interrupted.pth', True)])) == 2
    first, second = (f'ranet train a.py --cfg-options randomness.seed={seed}' for seed in (3, 4))
    tuned = started(0, 'work_dirs/a_seed3/epoch_9.pth', False, first)
    assert len(spread(tuned, [started(1, 'work_dirs/b/interrupted.pth', True, second)])) == 2
    for other in (scratch, started(0, 'a.pth'), started(0, 'work_dirs/a_seed3/epoch_9.pth', False, 'ranet train b.py')):
        with pytest.raises(ValueError, match='its settings are not those of the run'):
            spread(tuned, [other | dict(seed=1)])
    with pytest.raises(ValueError, match='its settings are not those of the run'):
        spread(scratch, [started(1, 'a.pth')])


def test_card_counts_what_several_processes_had_together():
    card = render('net.cifar10', record() | dict(processes=2, hardware='CPU, 1 threads'), 2**20)
    batch = record()['settings']['train_dataloader']['batch_size']
    assert f', batch {2 * batch}, ' in card
    assert ' minutes on 2 processes, each on CPU, 1 threads |' in card


def test_card_names_the_run_that_this_one_started_from_and_adds_its_cost():
    first = dict(command='python tools/train.py w.py', commit='abb', epochs=4, iterations=8, iteration=6, seconds=60.0)
    card = render('net.cifar10', record(earlier=[first], prepare=['ranet convert a.pth b.pth']), 2**20)
    assert '| Started from | `python tools/train.py w.py` at commit `abb` |\n' in card
    assert ' at commit `abb` |\n| Then | `ranet convert a.pth b.pth` |\n| Recipe |' in card
    assert ', epochs: 3 + 1, ' in card
    assert '| Cost | 3 minutes on CPU |' in card


@pytest.mark.parametrize(('taken', 'shown'), [(41.4, '41 seconds'), (120.0, '2 minutes')])
def test_card_tells_short_times_in_seconds(taken, shown):
    assert f'| Cost | {shown} on CPU |' in render('net.cifar10', record() | dict(seconds=taken), 2**20)


def test_card_says_how_sure_its_numbers_are():
    run = record()
    run['shipped']['runs'] = spread(run, [record(1, 92.0)])
    card = render('net.cifar10', run, 2**20)
    for row in (
        '| Accuracy | **89.96 %** on the test images, one view, seed 0 |',
        '| As trained | 90.00 %, before the file was written |',
        '| 95 % interval | 89.36 to 90.53 %, from the number of test images alone |',
        '| Over seeds | 91.00 ± 1.41 %, as trained, seeds 0, 1 |',
        '| Calibration error | 3.20 % (15 bins) |',
        '| cat | 80.00 |',
        'It is weakest on *cat*.',
    ):
        assert row in card
    assert 'published accuracies cannot be compared' in limits(run)
    run['shipped'].update(data='Digits (scikit-learn)', runs=run['shipped']['runs'][:1])
    assert 'cannot be compared' not in limits(run)
    assert '| Over seeds | one seed, hence no spread |' in render('net.digits', run, 2**20)


def test_digits_as_data():
    pytest.importorskip('mmpretrain')
    pairs, classes = load('digits', lambda image: image.size)
    assert (len(pairs), classes) == (360, list('0123456789'))
    assert pairs[0][0] == (32, 32)


def test_shipped_digits_reach_their_card_through_timm_and_mmpretrain():
    mmpretrain = pytest.importorskip('mmpretrain')
    from ranet_mm.mm.data.datasets import Digits

    (run,) = [r for r in RECORDS if r.get('shipped', {}).get('weights') == 'attention56_cifar.digits']
    stated = pytest.approx(run['shipped']['accuracy'], abs=0.3)  # an image of 360 may fall either way
    assert figures(*predict('attention56_cifar.digits', 'digits', 90))['accuracy'] == stated
    model, digits = mmpretrain.get_model('att56_digits', pretrained=True).eval(), Digits('test', pipeline=[])
    images = torch.stack([torch.from_numpy(digits[i]['img']).permute(2, 0, 1) for i in range(360)])
    with torch.no_grad():
        scores = model(model.data_preprocessor(dict(inputs=images))['inputs'])
    right = scores.argmax(1) == torch.tensor(digits.get_gt_labels())
    assert 100 * right.float().mean().item() == stated


@pytest.mark.slow('a compiler of 8-bit integers, and all test images')
def test_the_card_of_the_digits_holds_in_int8():
    for name in ('openvino', 'nncf', 'mmpretrain'):
        pytest.importorskip(name, reason=f"{name} is not installed: pip install 'ranet_mm[runtimes]'")
    (run,) = [r for r in RECORDS if r.get('shipped', {}).get('weights') == 'attention56_cifar.digits']
    found = figures(*predict('attention56_cifar.digits', 'digits', 90, 'digits'))['accuracy']
    assert found == pytest.approx(run['shipped']['int8']['accuracy'], abs=0.3)  # an image may fall either way


def test_figures_in_int8_stay_with_their_weights():
    int8 = dict(accuracy=89.9, calibration=dict(data='CIFAR-10', images=512), versions=dict(openvino='1', nncf='2'))
    run = record()
    run['shipped']['int8'] = int8
    line = '| In 8-bit integers | 89.90 %, calibrated on 512 images of CIFAR-10 (openvino 1, nncf 2) |'
    assert line in render('net.cifar10', run, 2**20)
    same = dict(sha256='ab', data='CIFAR-10 (JPEG copy)')
    assert still(run['shipped'], same) == int8
    assert still(run['shipped'], same | dict(sha256='cd')) is still(run['shipped'], same | dict(data='A')) is None
    assert still(None, same) is None


def test_weights_of_a_run_in_parts_are_shipped(tmp_path, monkeypatch):
    """As they come back from elsewhere: half precision, in parts, under the keys of OpenMMLab."""
    timm = pytest.importorskip('timm')
    monkeypatch.setattr(weights, 'FOLDER', tmp_path)
    (tmp_path / 'index.json').write_text('{}')
    options = dict(width=0.125, stem_pool=True)
    model = timm.create_model('attention56_cifar', num_classes=2, **options)
    state = {k if k.startswith('head.') else f'backbone.{k}': v for k, v in model.state_dict().items()}
    halves = [{k: v.half() if v.is_floating_point() else v for k, v in part} for part in
              (list(state.items())[:100], list(state.items())[100:])]  # fmt: skip
    for i, part in enumerate(halves):
        torch.save(part, f'run.{i}.pt')
    backbone = dict(type='ranet_mm.ResidualAttentionNet', arch='attention56_cifar', zero_init_last=True, **options)
    run = record()
    run['settings'].update(model=dict(backbone=backbone), data_preprocessor=dict(mean=[127.5] * 3, std=[51.0] * 3))
    ship('attention56_cifar.pets', ['run.0.pt', 'run.1.pt'], run, ('cat', 'dog'))
    row = weights.index(tmp_path)['attention56_cifar.pets']
    assert row['label_names'] == ('cat', 'dog') and row['mean'] == (0.5,) * 3 and row['std'] == (0.2,) * 3
    assert row['model_args'] == options
    weights.verify(row['file'], row['sha256'])
    with pytest.raises(
        ValueError, match=r"'attention92_cifar\.pets' are not allowed: the record is of 'attention56_cifar'"
    ):
        ship('attention92_cifar.pets', ['run.0.pt', 'run.1.pt'], run, ('cat', 'dog'))
    with pytest.raises(ValueError, match='weights do not fit'):
        ship('attention56_cifar.pets', ['run.0.pt'], run, ('cat', 'dog'))


def test_figures_on_other_images_stay():
    old = dict(record()['shipped'], also=[dict(data='A', images=1, accuracy=1.0, calibration_error=0.0)])
    kept = earlier(old, dict(data='CIFAR-10', sha256='ab'))
    assert [figures['data'] for figures in kept] == ['CIFAR-10 (JPEG copy)', 'A']
    assert earlier(old, dict(data='A', sha256='ab')) == kept[:1] and earlier(old, dict(data='A', sha256='cd')) == []
    run = record()
    run['shipped'] = dict(run['shipped'], data='CIFAR-10', also=kept[:1])
    card = render('net.cifar10', run, 2**20)
    assert 'trained on CIFAR-10 (JPEG copy), 50,000 images; tested on CIFAR-10, 10,000 images' in card
    assert '| On CIFAR-10 (JPEG copy) | 89.96 % |' in card and 'not on the benchmark' in card
    assert 'cannot be compared' not in card


@pytest.mark.parametrize('name', weights.index())
def test_committed_cards_are_what_their_records_make(name):
    (run,) = [r for r in RECORDS if r.get('shipped', {}).get('weights') == name]
    row = weights.index()[name]
    assert run['shipped']['sha256'] == row['sha256']
    file = Path(row['file'])
    assert file.with_suffix('.md').read_text(encoding='utf-8') == render(name, run, file.stat().st_size)
