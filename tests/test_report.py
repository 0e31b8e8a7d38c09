"""A run on one page: its numbers against scikit-learn, the record and the network, and the page in a browser."""

import base64
import io
import json
import re
import shutil
import socket
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_config, make_images
from PIL import Image

pytest.importorskip('mmpretrain', reason='a run is of mmpretrain')
pytest.importorskip('plotly', reason='draws the charts')
pytest.importorskip('timm', reason='the weights that ship are of timm')

import matplotlib as mpl
import timm
from sklearn import metrics
from sklearn.calibration import calibration_curve

from ranet_mm.cli import report, test, train
from ranet_mm.lab.predictions import Predictions
from ranet_mm.lab.report import Subject, charts, contradictions, evidence, gallery, render, rundir

SIZES = {400: 860, 1280: 900, 3840: 2160}
HOSTILE = '</script><img src=x onerror="alert(1)">'


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    """A run of two epochs on noise, and its config."""
    folder = tmp_path_factory.mktemp('report')
    config = make_config(folder, make_images(folder / 'images'))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert train.main([config, '--work-dir', 'run']) == 0
        assert test.main([config, 'run/epoch_2.pth', '--work-dir', 'test', '--dump', 'scores.npz']) == 0
    return folder


@pytest.fixture(scope='module')
def page(tiny):
    before = listed(tiny / 'run')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, 'connect', None)  # nothing is asked of the network while it is made
        assert report.main([str(tiny / 'run')]) == 0
    assert listed(tiny / 'run') == sorted([*before, 'report.html'])  # and nothing else was written
    return tiny / 'run' / 'report.html'


def listed(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob('*'))


def copied(tiny, *without):
    """The run in the current folder, without some files."""
    return shutil.copytree(tiny / 'run', Path('run'), ignore=shutil.ignore_patterns(*without))


def noise(images=200, classes=4, seed=0):
    """Predictions of which some are wrong, as of a network that is too sure."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (images,), generator=generator)
    logits = torch.randn(images, classes, generator=generator) * 2
    logits[torch.arange(images), labels] += 2
    return Predictions(logits.softmax(1), labels, (), ['cat', 'dog', '<b>bird</b>', 'cat'][:classes])


def embedded(page):
    """The data that the page's script reads."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


# Numbers ------------------------------------------------------------------------------------------------


def test_accuracy_by_class_is_scikit_learns_recall():
    found = noise()
    rows = {row[0]: row for row in charts.by_class(found).rows}
    recall = metrics.recall_score(found.labels, found.scores.argmax(1), average=None)
    assert {name: row[3] for name, row in rows.items()} == {
        name: f'{100 * share:.2f} %' for name, share in zip(found.names(), recall, strict=True)
    }
    shares = [float(row[3].split()[0]) for row in charts.by_class(found).rows]
    assert shares == sorted(shares)


def test_confusions_are_scikit_learns():
    found = noise()
    chart, counts = charts.confusions(found), metrics.confusion_matrix(found.labels, found.scores.argmax(1))
    assert chart.more['counts']['counts'] == counts.tolist()
    assert sum(row[2] for row in chart.rows) == counts.sum() - counts.trace()
    blue, orange = (np.array(layer['z'], float) for layer in chart.data)
    shares = 100 * metrics.confusion_matrix(found.labels, found.scores.argmax(1), normalize='true')
    assert np.allclose(np.where(np.isnan(blue), orange, blue)[counts > 0], shares[counts > 0])


def test_reliability_is_scikit_learns_calibration_curve():
    found = noise(500)
    confidence, taken_for = (x.numpy() for x in found.scores.max(1))
    right = taken_for == found.labels.numpy()
    good, sure = calibration_curve(right, confidence, n_bins=15)
    images = [row[1] for row in charts.reliability(found).rows]
    assert images == [n for n in np.histogram(confidence, 15, (0, 1))[0] if n]
    bars, marks = charts.reliability(found).data[:2]
    assert np.allclose(bars['y'], 100 * good)
    assert np.allclose(marks['x'], 100 * sure)
    error = 100 * np.average(abs(good - sure), weights=images)
    assert f'calibration error {error:.2f} %' in charts.reliability(found).caption


@pytest.mark.parametrize('classes', [2, 30, 150, 1000])
def test_any_number_of_classes(classes):
    found = noise(3000, classes)
    found.classes = [f'class {i}' for i in range(classes)]
    assert len(charts.by_class(found).data[0]['y']) == min(classes, charts.BARS)
    chart = charts.confusions(found)
    assert bool(chart.data) is (classes <= charts.MOST_CLASSES)
    assert chart.rows  # told in words whatever their number
    assert len(json.dumps(chart.figure() if chart.data else {})) < 1e6


@pytest.mark.slow('a run and its report')
def test_the_page_tells_what_the_record_and_the_test_say(tiny, page):
    text, record = page.read_text(), json.loads((tiny / 'run/record.json').read_text())
    with np.load(tiny / 'scores.npz') as dumped:
        right = dumped['scores'].argmax(1) == dumped['labels']
    assert f'{100 * right.mean():.2f} %' == f'{record["test"]["accuracy/top1"]:.2f} %'
    assert f'<dd>{100 * right.mean():.2f} %<small>{right.sum()} of 12 test images' in text
    assert f'{record["parameters"]:,}' in text
    drawn = {chart['name']: chart for chart in embedded(text)['charts']}
    top1 = drawn['accuracy']['data'][0]
    assert np.allclose(top1['y'], [point['accuracy/top1'] for point in record['curve']], atol=1e-4)
    assert top1['x'] == [6, 12]  # iterations, 12 images in batches of 2
    assert drawn['accuracy']['more']['epoch'] == 6


def test_worst_mistakes_are_wrong_and_ordered():
    found = noise()
    worst = evidence.worst(found, 10)
    confidence, taken_for = found.scores.max(1)
    wrong = np.flatnonzero(taken_for != found.labels)
    assert worst == wrong[np.argsort(-confidence[wrong].numpy(), kind='stable')][:10].tolist()
    assert not set(evidence.right(found, 10)) & set(wrong)


def test_another_accuracy_than_the_records_is_told():
    found = noise()
    accuracy = 100 * metrics.accuracy_score(found.labels, found.scores.argmax(1))
    record = dict(data=dict(test=dict(samples=200)), test={'accuracy/top1': 12.34})
    assert contradictions(record, found) == [
        f'The record of the run says 12.34 % of these images, and this checkpoint is right in {accuracy:.2f} %.'
    ]
    assert contradictions(record | dict(test={'accuracy/top1': accuracy}), found) == []
    assert contradictions(record | dict(data=dict(test=dict(samples=300))), found) == []  # a part of them


# Curves -------------------------------------------------------------------------------------------------


def log(folder, name, *lines):
    path = folder / name / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text('\n'.join(line if isinstance(line, str) else json.dumps(line) for line in lines))


def test_a_later_sitting_replaces_what_it_does_again(tmp_path):
    def step(i, loss):
        return dict(iter=i, step=i, epoch=1 + i // 11, loss=loss, lr=0.1)

    first = [
        step(10, 3),
        {'accuracy/top1': 40.0, 'step': 1},
        step(20, 2),
        {'accuracy/top1': 50.0, 'step': 2},
        step(30, 9),
    ]
    log(tmp_path, '20260101_000000', *first, '{"iter": 40, "lo')  # killed while it wrote
    log(tmp_path, '20260102_000000', step(20, 1.5), {'accuracy/top1': 60.0, 'step': 2}, step(30, 1))
    (tmp_path / 'record.json').write_text(json.dumps(dict(epochs=3, iterations=30)))
    found = rundir.open_run(tmp_path).curves
    assert found.loss == [(10, 3), (20, 1.5), (30, 1)]
    assert found.scores['accuracy/top1'] == [(10, 40), (20, 60)]


def test_a_run_by_iterations_has_no_epochs(tmp_path):
    log(tmp_path, '1', dict(iter=50, step=50, loss=1, lr=0.1), {'accuracy/top1': 40.0, 'step': 60})
    (tmp_path / 'record.json').write_text(json.dumps(dict(epochs=1, iterations=100)))
    found = rundir.open_run(tmp_path).curves
    assert (found.epoch, found.scores['accuracy/top1']) == (None, [(60, 40)])


def test_without_logs_the_record_tells_the_curve(tiny):
    run = copied(tiny, 'vis_data', '*.pth')
    found, whole = rundir.open_run(run), rundir.open_run(tiny / 'run')
    assert [i for i, _ in found.curves.loss] == [6, 12]
    assert np.allclose(found.curves.scores['accuracy/top1'], whole.curves.scores['accuracy/top1'], atol=1e-4)


def test_long_curves_are_thinned():
    curves = rundir.Curves(loss=[(i, 1 / (1 + i)) for i in range(100_000)])
    (chart,) = charts.training(curves)
    assert len(chart.data[0]['x']) == charts.POINTS and len(chart.rows) == charts.ROWS
    assert (chart.data[0]['x'][0], chart.data[0]['x'][-1]) == (0, 99_999)


# What is missing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('lacks', 'told'),
    [
        ('*.pth', 'The run has no checkpoint, so this page has no answers'),
        ('tiny*.py', 'The run has no config, so this page has no answers'),
    ],
)
def test_a_run_that_lacks_something_gets_a_page_that_says_so(tiny, capsys, lacks, told):
    copied(tiny, lacks, '*.html')
    assert report.main(['run']) == 0
    assert told in capsys.readouterr().out
    (text,) = [p.read_text() for p in Path('run').glob('*.html')]
    assert told in text and 'id="chart-loss"' in text and 'id="chart-confusions"' not in text
    assert 'by the record, on test images' in text


def test_a_run_of_mmpretrains_tools_has_no_record(tiny):
    run = copied(tiny, 'record.json', 'run.json', '*.pth', '*.html')
    assert report.main(['run']) == 0
    text = (run / 'report.html').read_text()
    assert 'id="chart-loss"' in text and 'The whole config' in text and 'by the record' not in text


def test_data_that_are_gone_leave_the_curves(tiny, capsys):
    run = copied(tiny, '*.html')
    (config,) = run.glob('*.py')
    config.write_text(config.read_text().replace(str(tiny / 'images'), '/gone'))
    assert report.main(['run']) == 0
    assert 'The checkpoint was not tested: ' in capsys.readouterr().out
    assert report.main(['run', '--overwrite', '--number', '3']) == 1  # asked for by name


@pytest.mark.parametrize(
    ('argv', 'code', 'told'),
    [
        (['nowhere'], 1, "run 'nowhere' is not a folder"),
        (['empty'], 1, "run 'empty' is not allowed: no record.json, scalars.json or checkpoint"),
        (['broken'], 1, 'cannot be read'),
        ([], 2, 'either RUN_DIR or --images FOLDER is needed'),
        (['empty', '--images', 'empty'], 2, 'either RUN_DIR or --images FOLDER is needed'),
        (['empty', '--model', 'resnet18'], 2, '--model is not allowed with RUN_DIR'),
        (['empty', '--out', 'page.pdf'], 2, "--out 'page.pdf' is not allowed"),
        (['kept', '--out', 'kept/page.html'], 1, "'kept/page.html' exists: --overwrite replaces it"),
        (['empty', '--number', '0'], 2, '--number 0 is not allowed'),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path, capsys, argv, code, told):
    for name in ('empty', 'broken', 'kept'):
        (tmp_path / name).mkdir()
    (tmp_path / 'broken/record.json').write_text('{"curve": [')
    (tmp_path / 'kept/page.html').write_text('mine')
    with pytest.raises(SystemExit) if code == 2 else nullcontext():
        assert report.main(argv) == code
    error = capsys.readouterr().err
    assert told in error and error.count('\n') == 1
    assert (tmp_path / 'kept/page.html').read_text() == 'mine'


def test_folders_that_are_no_classes_are_refused(tmp_path, capsys):
    Image.new('RGB', (32, 32)).save(tmp_path / 'a.png')
    assert report.main(['--images', str(tmp_path), '--model', 'attention56_cifar.digits']) == 1
    assert 'is in no folder that is named as a class: known are 0, 1' in capsys.readouterr().err


# The network --------------------------------------------------------------------------------------------


class Plain(torch.nn.Module):
    """A network without attention modules."""

    def forward(self, x):
        return x.mean((2, 3))


def made_up(model, found, size=(8, 8)):
    pictures = torch.rand(len(found.labels), 3, *size, generator=torch.Generator().manual_seed(1))
    return evidence.Evidence(found, model.eval(), lambda i: (pictures[i], pictures[i][None] - 0.5))


def decoded(strip):
    with Image.open(io.BytesIO(base64.b64decode(strip['png'].partition(',')[2]))) as image:
        return np.array(image)


@pytest.fixture
def attentive():
    torch.manual_seed(0)
    return timm.create_model('attention56_cifar', width=0.125, num_classes=2)


def test_maps_are_those_that_a_hook_sees(attentive):
    seen, masks = made_up(attentive, noise(4, 2), (32, 32)), {}
    attentive.eval().stages[0][1].mask.register_forward_hook(lambda _, __, out: masks.update(mask=out[0]))
    shown = gallery.build(seen, [3], 10**7)
    with torch.no_grad():
        attentive(seen.look(3)[1])
    module, strip = shown['modules'][0], shown['images'][0]['maps']['stages.0.1']['mask']
    height, width, channels = module['size']
    assert (channels, height, width) == tuple(masks['mask'].shape)
    tiles = decoded(strip).reshape(-1, height, width)
    low, high = np.array(strip['ranges']).T[..., None, None]
    values = dict(zip(module['tiles'], low + tiles / 255 * (high - low), strict=True))
    close = dict(atol=1e-3 * (high - low).max() + (high - low).max() / 255)
    assert np.allclose(values['mean of channels'], masks['mask'].mean(0), **close)
    assert np.allclose(values['maximum of channels'], masks['mask'].amax(0), **close)
    for name in module['tiles'][4:]:
        assert np.allclose(values[name], masks['mask'][int(name.split()[1])], **close)


def test_pictures_are_the_test_images(tiny, page):
    found = embedded(page.read_text())['gallery']
    assert len(found['images']) == 12
    for entry in found['images']:
        with Image.open(tiny / 'images' / 'test' / entry['file']) as image:
            assert np.array_equal(decoded(dict(png=entry['picture'])), np.array(image))
        assert entry['shows'] == entry['file'].partition('/')[0]


def test_answers_of_shipped_weights_are_timms(tmp_path, images):
    argv = [
        '--model',
        'attention56_cifar.cifar10',
        '--images',
        str(images / 'test'),
        '--number',
        '4',
        '--out',
        'page.html',
    ]
    assert report.main(argv) == 0
    model = timm.create_model('attention56_cifar.cifar10', pretrained=True).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    found = embedded((tmp_path / 'page.html').read_text())['gallery']['images']
    assert len(found) == 4
    for entry in found:
        with Image.open(images / 'test' / entry['file']) as image, torch.no_grad():
            scores = model(transform(image)[None])[0].softmax(0)
            assert np.array_equal(decoded(dict(png=entry['picture'])), np.array(image))
        assert entry['top'][0][1] == pytest.approx(scores.max().item(), rel=1e-3)


def test_a_gallery_keeps_to_its_budget(attentive):
    seen = made_up(attentive, noise(8, 2), (32, 32))
    whole = gallery.build(seen, range(8), 10**7)
    half = gallery.build(seen, range(8), gallery.size(whole['images']) // 2)
    assert (len(whole['images']), half['asked']) == (8, 8)
    assert 1 <= len(half['images']) < 8


# In a browser -------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def browser():
    sync_api = pytest.importorskip('playwright.sync_api', reason='drives a browser')
    path = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
    if path is None:
        pytest.skip('no Chromium on the PATH')
    with sync_api.sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=path, args=['--no-sandbox'])
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser):
    """Opens a page from disk; in the end its console was empty, and nothing but the page was asked for."""
    contexts, said, asked, pages = [], [], set(), set()

    def opened(path, width=1280, scheme='light'):
        contexts.append(browser.new_context(viewport=dict(width=width, height=SIZES[width]), color_scheme=scheme))
        view = contexts[-1].new_page()
        view.on('console', lambda message: said.append(message.text))
        view.on('pageerror', lambda error: said.append(str(error)))
        view.on('dialog', lambda dialog: (said.append(dialog.message), dialog.dismiss()))
        view.on('request', lambda request: asked.add(request.url.partition(',')[0]))
        pages.add(path.as_uri())
        view.goto(path.as_uri())
        view.locator('.chart .main-svg').first.wait_for()
        return view

    yield opened
    for context in contexts:
        context.close()
    assert said == []
    assert {url for url in asked if not url.startswith('data:')} <= pages


def drawn(view, image, module, tile):
    """Waits until the gallery shows this, and gives the mask's pixels."""
    view.locator(f'#view-mask[data-map="{image} {module} {tile}"]').wait_for()
    return np.array(view.evaluate("""() => {
        const view = document.getElementById('view-mask');
        return [...view.getContext('2d').getImageData(0, 0, view.width, view.height).data];
    }""")).reshape(-1, 4)  # fmt: skip


def expected(data, image, module, tile):
    """What the colour map of matplotlib makes of a strip's tile."""
    strip = next(entry for entry in data['images'] if entry['index'] == image)['maps'][module]['mask']
    height = next(entry for entry in data['modules'] if entry['name'] == module)['size'][0]
    values = decoded(strip)[height * tile : height * (tile + 1)].flatten()
    return mpl.colormaps['viridis'](values, bytes=True)


@pytest.mark.slow('a browser')
def test_gallery_by_mouse(page, visit):
    data, view = embedded(page.read_text())['gallery'], visit(page)
    first, third = data['images'][0]['index'], data['images'][2]['index']
    assert np.abs(drawn(view, first, 'stages.0.1', 0) - expected(data, first, 'stages.0.1', 0)).max() <= 1
    view.click(f'input[name=image][value="{third}"]')
    view.click('input[name=module][value="stages.1.1"]')
    view.select_option('#tile', label=data['modules'][1]['tiles'][-1])
    tile = len(data['modules'][1]['tiles']) - 1
    assert np.abs(drawn(view, third, 'stages.1.1', tile) - expected(data, third, 'stages.1.1', tile)).max() <= 1
    assert view.inner_text('#said').startswith(data['images'][2]['shows'])
    stretched = view.inner_text('figure:has(#view-mask) .high')
    view.check('#absolute')
    view.locator('figure:has(#view-mask) .high', has_text=re.compile('^1$')).wait_for()
    assert 0 < float(stretched) <= 1


def test_gallery_by_keyboard(page, visit):
    data, view = embedded(page.read_text())['gallery'], visit(page)
    first, second = (entry['index'] for entry in data['images'][:2])
    drawn(view, first, 'stages.0.1', 0)
    view.focus('a.skip')
    for _ in range(60):  # to the images by Tab alone
        view.keyboard.press('Tab')
        if view.evaluate('document.activeElement.name') == 'image':
            break
    view.keyboard.press('ArrowRight')
    drawn(view, second, 'stages.0.1', 0)
    view.keyboard.press('Tab')
    view.keyboard.press('ArrowDown')
    drawn(view, second, 'stages.1.1', 0)
    view.keyboard.press('Tab')
    view.keyboard.press('ArrowDown')
    pixels = drawn(view, second, 'stages.1.1', 1)
    assert np.abs(pixels - expected(data, second, 'stages.1.1', 1)).max() <= 1
    assert 'maximum of channels: from' in view.get_attribute('#view-mask', 'aria-label')


@pytest.mark.slow('a browser')
def test_a_mistake_leads_to_the_gallery(page, visit):
    view = visit(page)
    button = view.locator('button[data-show]').last
    button.focus()
    view.keyboard.press('Enter')
    assert view.locator('input[name=image]:checked').get_attribute('value') == button.get_attribute('data-show')
    assert view.evaluate('document.activeElement.name') == 'image'


def test_curves_against_epochs_or_iterations(page, visit):
    view = visit(page)
    x = 'document.getElementById("chart-accuracy").data[0].x'
    assert view.evaluate(x) == [1, 2]
    view.click('input[name=axis][value=iteration]')
    assert view.evaluate(x) == [6, 12]


CONTRASTS = """() => {
    const channel = value => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    const luminance = colour => colour.match(/[\\d.]+/g).slice(0, 3).map(v => channel(v / 255))
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const paper = luminance(getComputedStyle(document.body).backgroundColor);
    const all = selector => [...document.querySelectorAll(selector)];
    const texts = all('body :is(p, dt, dd, h1, h2, h3, figcaption, summary, a, small, th, td)');
    const drawn = all('.chart :is(.xtick, .ytick) text, .chart :is(.xtitle, .ytitle)');
    const colours = [...texts.map(e => getComputedStyle(e).color), ...drawn.map(e => getComputedStyle(e).fill)];
    return colours.map(luminance).map(own => (Math.max(own, paper) + 0.05) / (Math.min(own, paper) + 0.05));
}"""


@pytest.mark.slow('a browser')
@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('width', SIZES)
def test_every_size_light_and_dark(page, visit, tmp_path, width, scheme):
    view = visit(page, width, scheme)
    view.locator('#view-mask[data-map]').wait_for()
    assert view.evaluate('document.documentElement.scrollWidth') <= width  # nothing runs out of the page
    cut = '[...document.querySelectorAll(".chart text")].filter(text => {' \
          'const inner = text.getBoundingClientRect(), outer = text.closest(".chart").getBoundingClientRect();' \
          'return inner.width && (inner.left < outer.left - 1 || inner.right > outer.right + 1); }).length'  # fmt: skip
    assert view.evaluate(cut) == 0
    assert min(view.evaluate(CONTRASTS)) >= 4.5  # WCAG 2.2, AA
    view.screenshot(path=tmp_path / 'page.png')
    pixels = np.array(Image.open(tmp_path / 'page.png').convert('L')) / 255
    assert pixels.shape == (SIZES[width], width)
    assert np.median(pixels) > 0.9 if scheme == 'light' else np.median(pixels) < 0.1
    assert pixels.std() > 0.02


def test_what_a_screen_reader_gets(page, visit):
    view = visit(page)
    view.locator('#view-mask[data-map]').wait_for()
    assert view.evaluate('[...document.images].filter(image => !image.alt).length') == 0
    assert view.evaluate('[...document.querySelectorAll("[role=img]")].filter(e => !e.ariaLabel).length') == 0
    assert view.evaluate('[...document.querySelectorAll("input, select")].filter(e => !e.labels.length).length') == 0
    assert view.evaluate('document.querySelectorAll("h1").length') == 1
    assert view.evaluate('[...new Set([...document.querySelectorAll("[id]")].map(e => e.id))].length ==='
                         'document.querySelectorAll("[id]").length')  # fmt: skip
    names = {chart['name'] for chart in embedded(page.read_text())['charts']}
    for name in names:  # each has a table that says the same
        assert view.locator(f'#figure-{name} table, #figure-{name} + .scroll table').count() >= 1
    view.get_by_role('img', name=re.compile('^Reliability diagram')).wait_for()
    view.get_by_role('radio', name=re.compile('taken for')).first.wait_for()


@pytest.mark.slow('a browser')
def test_it_prints_light_and_whole(page, visit):
    view = visit(page, scheme='dark')
    view.emulate_media(media='print', color_scheme='dark')
    assert view.evaluate('getComputedStyle(document.body).backgroundColor') == 'rgb(255, 255, 255)'
    view.evaluate('dispatchEvent(new Event("beforeprint"))')
    assert view.evaluate('Math.max(...[...document.querySelectorAll(".main-svg")].map(e => e.clientWidth))') <= 680
    below = """[...document.querySelectorAll('.chart')].every(chart => chart.querySelector('.main-svg')
        .getBoundingClientRect().bottom <= chart.nextElementSibling.getBoundingClientRect().top)"""
    assert view.evaluate(below)  # captions are not drawn over
    view.emulate_media(media='screen')
    view.evaluate('dispatchEvent(new Event("afterprint"))')
    assert view.evaluate(below)


def test_it_is_small_and_needs_no_network(page):
    assert page.stat().st_size < 10e6
    text = page.read_text()
    assert 'Content-Security-Policy' in text and "default-src 'none'" in text
    assert not re.findall(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="(?!data:)[^"{#]', text)


def test_no_name_becomes_code(tmp_path, visit):
    found = noise(40, 3)
    found.classes = [HOSTILE, '{{ 7 * 7 }}', "$a'"]
    found.images = [f'{HOSTILE}/{i}.png' for i in range(40)]
    subject = Subject(HOSTILE, HOSTILE, {HOSTILE: HOSTILE}, {}, rundir.Curves(), HOSTILE)
    path = tmp_path / 'page.html'
    path.write_text(render(subject, made_up(Plain(), found), [HOSTILE], HOSTILE))
    view = visit(path)
    assert view.inner_text('h1') == HOSTILE
    assert HOSTILE in view.text_content('#figure-by_class table')
    assert '{{ 7 * 7 }}' in view.text_content('#figure-by_class table')


def test_a_network_without_attention_has_images_alone(tmp_path, visit):
    path = tmp_path / 'page.html'
    path.write_text(render(Subject('plain', None, {}, {}, rundir.Curves()), made_up(Plain(), noise(40, 3)), [], 'x'))
    view = visit(path)
    assert view.locator('canvas').count() == 0
    before = view.inner_text('#said')
    view.locator('input[name=image]').last.check()
    assert view.inner_text('#said') != before
