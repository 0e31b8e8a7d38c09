"""The console command and its programs: models, predictions, published weights, benchmarks, schedules, pictures."""

import csv
import hashlib
import itertools
import json
import os
import pickle
import re
import runpy
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_config, make_images
from PIL import Image
from sklearn import metrics
from test_tools import refused

pytest.importorskip('timm')
pytest.importorskip('mmpretrain')

import timm

import ranet
import ranet_mm
from ranet_mm import image_files
from ranet_mm.cli import (
    benchmark,
    browse_dataset,
    configs,
    confusion_matrix,
    eval_metric,
    export,
    models,
    predict,
    print_config,
    program,
    publish,
    test,
    train,
    vis_scheduler,
)
from ranet_mm.lab import predictions, speed
from ranet_mm.mm import config as mm_config
from ranet_mm.weights import description
from ranet_mm.weights.read import read, weights_of

ROOT = Path(__file__).parents[1]
OLD = sorted(p for p in (ROOT / 'tools').rglob('*.py') if p.is_symlink())
MM = ('mmengine', 'mmcv', 'mmpretrain', 'mmseg', 'mmdet')
ADDED = """
custom_hooks = [*_base_.custom_hooks, dict(type='EMAHook', momentum=0.3)]
model['data_preprocessor'] = dict(num_classes=2, mean=[102.0] * 3, std=[51.0] * 3)
"""


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """An epoch of training with averaged weights: config file, work dir, and what `test` wrote of it."""
    folder = tmp_path_factory.mktemp('trained')
    config = make_config(folder, make_images(folder / 'images'), ADDED)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert train.main([config, '--work-dir', 'run', '--cfg-options', 'train_cfg.max_epochs=1']) == 0
        argv = [config, 'run/epoch_1.pth', '--work-dir', 'run', '--dump', 'run/scores.npz', '--out', 'run/scores.pkl']
        assert test.main(argv) == 0
    return config, folder / 'run'


@pytest.fixture(scope='module')
def published(trained, tmp_path_factory):
    """The files of the averaged weights, by ending."""
    folder = tmp_path_factory.mktemp('published')
    assert publish.main([str(trained[1] / 'epoch_1.pth'), str(folder / 'tiny')]) == 0
    return {path.suffix: path for path in folder.iterdir()}


@pytest.fixture
def image(images):
    return str(images / 'test/dog/1.png')


class TestConsole:
    def test_help_lists_every_command_without_importing_anything_heavy(self):
        code = 'import sys, ranet; ranet.main(["--help"]); print(*sys.modules, sep="\\n")'
        out = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert all(re.search(rf'^  {name} +\S', out, re.M) for name in ranet.COMMANDS)
        assert not {'torch', 'timm', 'numpy', 'ranet_mm', 'mmengine'} & set(out.split())

    @pytest.mark.parametrize('name', ranet.COMMANDS)
    def test_every_command_is_there_under_its_name(self, name, capsys, monkeypatch):
        monkeypatch.setattr(sys, 'argv', ['/somewhere/bin/ranet', name])
        with pytest.raises(SystemExit) as stop:
            ranet.main([name, '--help'])
        assert stop.value.code == 0
        assert capsys.readouterr().out.startswith(f'usage: ranet {name} ')

    def test_unknown_command(self, capsys):
        assert "command 'trian' is not known: allowed are models, " in refused(capsys, ranet, 'trian')

    def test_every_file_is_a_command(self):
        files = {p.stem for p in (ROOT / 'ranet_mm/cli').glob('[!_]*.py')} - {'program'}
        assert files == {name.replace('-', '_') for name in ranet.COMMANDS}

    @pytest.mark.parametrize('tool', OLD, ids=lambda path: path.stem)
    def test_old_names_run_the_commands_and_say_so(self, tool, capsys, monkeypatch):
        monkeypatch.setattr(sys, 'argv', [str(tool), '--help'])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(tool), run_name='__main__')
        assert stop.value.code == 0
        out, err = capsys.readouterr()
        new = re.fullmatch(rf'{tool} is now: (ranet [a-z-]+)\n', err)[1]
        assert out.startswith(f'usage: {new} ')

    def test_old_names_are_all_but_what_openmmlab_has_too(self):
        old = {path.stem for path in OLD}
        renamed = {'convert_checkpoint', 'publish_model', 'model_card', 'make_metafile', 'make_tables'}
        modules = {name.replace('-', '_') for name in ranet.COMMANDS}
        gone = {
            'models',
            'configs',
            'train',
            'test',
            'publish',
            'card',
            'convert',
            'metafile',
            'tables',
            'report',
            'attend',
            'verify',
            'faithfulness',
        }
        assert old == (modules - gone) | renamed
        assert {p.stem for p in (ROOT / 'tools').rglob('*.py')} - old == {'train', 'test', '_old'}

    @pytest.mark.slow('a process that imports the libraries anew')
    def test_models_and_predict_need_torch_and_timm_alone(self, image):
        code = f"""if True:
            import sys
            sys.modules.update(dict.fromkeys({[*MM, 'sklearn', 'matplotlib', 'rich']}))
            import ranet
            sys.exit(ranet.main(['models', '*56_cifar']) or ranet.main(['predict', {image!r}]))
        """
        done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert re.search(r'^attention56_cifar +56 +7,202,794 +32x32 +10 +cifar10, digits$', done.stdout, re.M)
        shown = re.findall(r' ([a-z]+) +[\d.]+ %$', done.stdout, re.M)
        assert len(set(shown)) == 5
        assert set(shown) <= set(ranet_mm.weights.index()['attention56_cifar.cifar10']['label_names'])

    @pytest.mark.slow('a process of its own')
    def test_a_reader_that_stops_is_no_error(self):
        command = f'{sys.executable} -m ranet configs; echo code $? >&2'
        done = subprocess.run(f'({command}) | true', cwd=ROOT, shell=True, capture_output=True, text=True, check=True)
        assert done.stderr == 'code 0\n'


class TestModels:
    def test_facts_are_the_golden_ones(self, capsys):
        assert models.main(['attention*_table1', '--json']) == 0
        golden = json.loads((ROOT / 'tests/golden/models.json').read_text())
        rows = json.loads(capsys.readouterr().out)
        assert [r['name'] for r in rows] == ['attention56_table1', 'attention92_table1']
        for row in rows:
            assert {k: row[k] for k in ('params', 'depth')} == {k: golden[row['name']][k] for k in ('params', 'depth')}

    def test_pretrained_ones_are_those_of_timm(self, capsys):
        assert models.main(['--pretrained', '--json']) == 0
        listed = {f'{r["name"]}.{tag}' for r in json.loads(capsys.readouterr().out) for tag in r['weights']}
        assert listed == set(timm.list_pretrained('attention*'))

    def test_unknown(self, capsys):
        assert "no model has a name like 'resnet*'" in refused(capsys, models, 'resnet*')


class TestConfigs:
    def test_every_own_config_is_listed_with_what_it_is(self, capsys):
        assert configs.main(['ranet/*']) == 0
        lines = capsys.readouterr().out.splitlines()
        expected = sorted(f'ranet/{p.stem}' for p in (ROOT / 'configs/ranet').glob('*.py'))
        assert sorted(line.split()[0] for line in lines) == expected
        assert all(len(line.split()) > 2 for line in lines)

    def test_found_in_an_installed_package_where_there_is_no_such_file(self, tmp_path, monkeypatch):
        folder = tmp_path / 'site-packages/ranet_mm'
        for name in ('ranet/mine.py', '_base_/models/mine.py'):
            path = folder / '.mim/configs' / name
            path.parent.mkdir(parents=True)
            path.touch()
        monkeypatch.setattr('ranet_mm.hub.PACKAGE', folder)
        (folder / '.mim/model-index.yml').touch()
        assert list(mm_config.own_configs()) == ['ranet/mine']
        for name in ('ranet/mine', 'ranet/mine.py', 'configs/ranet/mine.py'):
            assert mm_config.find_config(name) == folder / '.mim/configs/ranet/mine.py'
        Path('ranet').mkdir()
        Path('ranet/mine.py').touch()
        assert mm_config.find_config('ranet/mine.py') == Path('ranet/mine.py')
        with pytest.raises(FileNotFoundError, match=r"'ranet/mien' does not exist.* its nearest are ranet/mine$"):
            mm_config.find_config('ranet/mien')

    def test_printed_config_is_the_one_that_runs(self, write_config, capsys):
        config = write_config()
        assert print_config.main([config, '--cfg-options', 'train_cfg.max_epochs=7', '--out', 'printed.py']) == 0
        expected = train.configure(train.parse_args([config, '--cfg-options', 'train_cfg.max_epochs=7']))
        printed = mm_config.read_config('printed.py')
        assert printed.to_dict() == expected.to_dict()
        assert 'exists: choose another name' in refused(capsys, print_config, config, '--out', 'printed.py')

    def test_a_part_of_a_config(self, write_config, capsys):
        assert print_config.main([write_config(), '--field', 'train_dataloader.dataset.pipeline.0']) == 0
        assert "type='ranet_mm.LoadImage'" in capsys.readouterr().out
        err = refused(capsys, print_config, write_config(), '--field', 'model.bakbone')
        assert "in place of 'bakbone' there are " in err
        assert 'backbone' in err


class TestPredict:
    def test_probabilities_are_the_models(self, image, capsys):
        Path('same.png').write_bytes(Path(image).read_bytes())
        assert predict.main([image, 'same.png', '--json', 'found.json', '--topk', '2', '--batch-size', '1']) == 0
        found = json.loads(Path('found.json').read_text())
        assert found['weights'] == 'attention56_cifar.cifar10'
        first, second = found['images']
        assert [i['image'] for i in (first, second)] == [image, 'same.png']
        assert first['predictions'] == second['predictions']
        model = timm.create_model('attention56_cifar', pretrained=True).eval()
        cfg = timm.data.resolve_model_data_config(model)
        with torch.no_grad():
            scores = model(timm.data.create_transform(**cfg)(predict.read_image(image))[None]).softmax(1)[0]
        names = model.pretrained_cfg['label_names']
        assert len(names) == 10
        assert {p['label']: p['probability'] for p in first['predictions']} == pytest.approx(
            dict(zip(names, scores.tolist(), strict=True)), abs=1e-5
        )
        head, best, next_best, *_ = capsys.readouterr().out.splitlines()
        assert head.split() == ['image', 'class', 'probability']
        assert best.split()[:2] == [image, first['predictions'][0]['label']]
        assert next_best.split()[0] == first['predictions'][1]['label']

    @pytest.mark.slow('a run, and each file that is made of it')
    @pytest.mark.parametrize('which', ['epoch_1.pth', '.pth', '.safetensors', 'file.xml', 'file.onnx'])
    def test_a_checkpoint_says_what_model_it_holds(self, trained, published, which):
        path = published.get(which, trained[1] / which)
        if which.startswith('file'):
            for name in dict(xml=['openvino'], onnx=['onnxruntime', 'onnxscript'])[path.suffix[1:]]:
                pytest.importorskip(name, reason=f"{name} is not installed: pip install 'ranet_mm[runtimes]'")
            path, checkpoint = Path(which), str(trained[1] / 'epoch_1.pth')
            assert export.main(['attention56_cifar', which, '--checkpoint', checkpoint, '--sizes', '32']) == 0
        sample = trained[1].parent / 'images/test/dog/0.png'
        assert predict.main([str(sample), '--checkpoint', str(path), '--json', 'found.json']) == 0
        guesses = json.loads(Path('found.json').read_text())['images'][0]['predictions']
        dumped = predictions.read(str(trained[1] / 'scores.npz'))
        row = next(i for i, p in enumerate(dumped.images) if p.endswith('dog/0.png'))
        assert {g['label']: g['probability'] for g in guesses} == pytest.approx(
            dict(zip(('cat', 'dog'), dumped.scores[row].tolist(), strict=True)), abs=1e-4
        )

    @pytest.mark.slow('many commands')
    def test_bad_input(self, image, trained, capsys):
        Path('text.png').write_text('no image')
        torch.save(dict(w=torch.ones(1)), 'bare.pth')
        assert "image 'none.png' does not exist" in refused(capsys, predict, 'none.png')
        assert "image 'text.png' cannot be read whole" in refused(capsys, predict, 'text.png')
        assert "model 'resnet_x' is not known" in refused(capsys, predict, image, '--model', 'resnet_x')
        assert 'has no pretrained weights' in refused(capsys, predict, image, '--model', 'attention92')
        assert "checkpoint 'none.pth' does not exist" in refused(capsys, predict, image, '--checkpoint', 'none.pth')
        assert 'name one by --model' in refused(capsys, predict, image, '--checkpoint', 'bare.pth')
        err = refused(
            capsys, predict, image, '--checkpoint', trained[1] / 'epoch_1.pth', '--model', 'attention92_cifar'
        )
        assert 'weights do not fit' in err
        assert '--topk 0 is not allowed' in refused(capsys, predict, image, '--topk', '0')
        assert '--calibration need each other' in refused(capsys, predict, image, '--runtime', 'int8')
        assert '--calibration need each other' in refused(capsys, predict, image, '--calibration', image)
        pytest.importorskip('openvino', reason="openvino is not installed: pip install 'ranet_mm[runtimes]'")
        err = refused(capsys, predict, image, '--runtime', 'openvino', '--device', 'meta')
        assert '--device meta is not allowed with --runtime openvino' in err

    @pytest.mark.parametrize('name', ['text.xml', 'text.onnx'])
    def test_files_of_other_libraries_that_are_none(self, name, image, capsys):
        pytest.importorskip(*dict(xml=['openvino'], onnx=['onnxruntime'])[name.partition('.')[2]])
        assert f"checkpoint '{name}' does not exist" in refused(capsys, predict, image, '--checkpoint', name)
        Path(name).write_text('no graph')
        assert f"checkpoint '{name}' cannot be read: " in refused(capsys, predict, image, '--checkpoint', name)

    def test_openvino_computes_where_many_images_are_of_one_size(self, capsys):
        pytest.importorskip('openvino', reason="openvino is not installed: pip install 'ranet_mm[runtimes]'")
        model = timm.create_model('attention56_cifar', modules=(1,), widths=(32,), strides=(2,), mask_pools=(1,))
        asked = dict(runtime=None, device='cpu', checkpoint=None)
        for change, images, form in (
            ({}, predict.MORE, 'openvino'),
            ({}, predict.MORE - 1, 'deploy'),
            (dict(runtime='eager'), predict.MORE, 'eager'),
            (dict(device='cuda'), predict.MORE, 'deploy'),
        ):
            assert predict.form_for(model, Namespace(**asked | change), images) == form
        assert (
            capsys.readouterr().err == 'hint: OpenVINO computes from 2,000 images on (--runtime deploy: PyTorch does)\n'
        )
        model.description = dict(
            pipeline=[dict(type='ranet_mm.LoadImage'), dict(type='PackInputs')]
        )  # at their own size
        assert predict.form_for(model, Namespace(**asked), predict.MORE) == 'deploy'


class TestRuntimesOfTest:
    @pytest.mark.slow('a run, and the compilers of other libraries')
    @pytest.mark.parametrize(('form', 'tolerance'), [('deploy', 1e-5), ('openvino', 1e-5), ('int8', 0.05)])
    def test_scores_are_those_of_the_network_with_averaged_weights(self, trained, form, tolerance):
        for name in dict(openvino=['openvino'], int8=['openvino', 'nncf']).get(form, []):
            pytest.importorskip(name, reason=f"{name} is not installed: pip install 'ranet_mm[runtimes]'")
        config, run = trained
        argv = [config, str(run / 'epoch_1.pth'), '--work-dir', 'run', '--runtime', form, '--dump', 'a.npz']
        assert test.main([*argv, *['--tta'] * (form == 'deploy')]) == 0
        wanted, found = predictions.read(str(run / 'scores.npz')), predictions.read('a.npz')
        if form == 'deploy':
            assert test.main([*argv[:-4], '--tta', '--dump', 'b.npz']) == 0
            wanted = predictions.read('b.npz')
        assert found.images == wanted.images
        assert abs(found.scores - wanted.scores).max() == pytest.approx(0, abs=tolerance)
        assert (abs(found.scores - wanted.scores).max() > 1e-5) == (form == 'int8')

    def test_what_does_not_go(self, trained, capsys):
        config, checkpoint = trained[0], trained[1] / 'epoch_1.pth'
        err = refused(capsys, test, config, checkpoint, '--runtime', 'deploy', '--amp')
        assert '--amp does not go with --runtime deploy' in err
        pytest.importorskip('nncf', reason="nncf is not installed: pip install 'ranet_mm[runtimes]'")
        err = refused(capsys, test, config, checkpoint, '--runtime', 'int8', '--cfg-options', 'train_dataloader=None')
        assert 'the config has no train_dataloader to calibrate with' in err


def touch(*names):
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


class TestFind:
    def test_a_folder_is_searched_and_sorted_by_number(self):
        touch('photos/10.png', 'photos/2.JPG', 'photos/notes.txt', 'photos/data.h5', 'photos/report.pdf')
        touch('photos/sub/deep/1.webp', 'photos/.hidden.png', 'photos/.cache/1.png')
        touch('01.png', '1.png', '1\N{SUPERSCRIPT TWO}.png')
        Path('photos/sub/loop').symlink_to('..')
        Path('photos/linked').symlink_to('sub')
        below = ['2.JPG', '10.png', 'linked/deep/1.webp', 'sub/deep/1.webp']
        assert image_files.find(['photos']) == image_files.find(['photos/']) == [f'photos/{name}' for name in below]
        assert image_files.find(['1.png', 'photos/sub', '.'])[:4] == [
            '1.png', 'photos/sub/deep/1.webp', 'photos/sub/loop/2.JPG', 'photos/sub/loop/10.png',
        ]  # fmt: skip
        assert image_files.find(['./*.png']) == ['./01.png', './1.png', './1\N{SUPERSCRIPT TWO}.png']

    def test_patterns_stand_for_the_images_and_folders_that_match(self):
        touch(
            'photos/10.png', 'photos/2.png', 'photos/notes.txt', 'photos/cat/1.jpg', 'photos/.hidden.png', 'other.png'
        )
        top, below = ['photos/2.png', 'photos/10.png'], ['photos/cat/1.jpg']
        assert image_files.find(['photos/*.png']) == top
        assert image_files.find(['photos/[0-9].png', '**/*.jpg']) == top[:1] + below
        assert image_files.find(['*/c?t']) == below
        assert image_files.find(['photos/**']) == image_files.find(['photos/*']) == top + below

    def test_arguments_keep_their_order_and_an_image_is_found_once(self):
        touch('b/1.png', 'a/1.png', 'a/2.png')
        assert image_files.find(['b', './a/2.png', 'a', 'a/*.png', 'b/1.png']) == ['b/1.png', './a/2.png', 'a/1.png']

    def test_a_name_is_a_file_before_it_is_a_pattern(self):
        touch('[1].png', '1.png', '[ab]/1.png', 'a/1.png', 'scan')
        assert image_files.find(['[1].png', '[ab]', 'scan']) == ['[1].png', '[ab]/1.png', 'scan']
        assert image_files.find(['[0-9].png']) == ['1.png']

    def test_what_a_folder_holds_besides_is_said_once(self, capsys):
        touch('a/1.png', 'a/notes.txt', 'b/1.png', 'b/b.TXT', 'b/.c.txt', 'b/Thumbs.db', 'b/__MACOSX/2.png')
        assert image_files.find(['a', 'b']) == ['a/1.png', 'b/1.png']
        assert capsys.readouterr().err == 'hint: 2 files left out as no images: 2 .txt\n'
        assert image_files.find(['*/*.png']) == image_files.find(['**/*.png']) == ['a/1.png', 'b/1.png']
        assert image_files.find(['b/__MACOSX/*']) == ['b/__MACOSX/2.png']
        assert not capsys.readouterr().err

    def test_nothing_found(self, capsys):
        touch('empty/notes.txt', 'empty/.hidden.png')
        allowed = 'allowed are image files, folders that hold some'
        assert f"folder 'empty' holds no image: {allowed}" in refused(capsys, predict, 'empty')
        assert f"pattern 'empty/*' matches no image: {allowed}" in refused(capsys, predict, 'empty/*')
        assert f"image 'photos' does not exist: {allowed}" in refused(capsys, predict, 'photos')


class TestPredictMany:
    """With a model that takes no time: class 0 is the likelier, the darker an image is."""

    @pytest.fixture(autouse=True)
    def _model(self, monkeypatch):
        class Model(torch.nn.Module):
            num_classes = 2
            pretrained_cfg = dict(input_size=(3, 8, 8), crop_pct=1.0)

            def forward(self, images):
                assert len(images) <= 32
                return torch.stack([-images.mean((1, 2, 3)), images.mean((1, 2, 3))], 1)

        monkeypatch.setattr(predict, 'load', lambda name, checkpoint: Model())

    @pytest.fixture
    def many(self):
        """101 images, each other one bright."""
        Path('many').mkdir()
        for number in range(101):
            Image.new('L', (8, 8), 255 * (number % 2)).save(f'many/{number}.png')
        return 'many'

    @pytest.mark.parametrize('terminal', [False, True])
    def test_progress_is_for_terminals_and_not_for_the_table(self, many, terminal, capsys, monkeypatch):
        monkeypatch.setattr(sys.stderr, 'isatty', lambda: terminal)
        assert predict.main([many, '--topk', '1']) == 0
        out, err = capsys.readouterr()
        lines = [line.split()[:2] for line in out.splitlines()]
        assert lines == [['image', 'class'], *([f'many/{i}.png', str(i % 2)] for i in range(101))]
        assert ('/101 [' in err) == bool(err) == terminal
        assert predict.main(['many/?.png', 'many/??.png']) == 0
        assert not capsys.readouterr().err

    def test_an_unreadable_image_costs_no_other(self, many, capsys):
        whole = Path('many/7.png').read_bytes()
        Path('many/7.png').write_bytes(whole[:50])
        for number in range(32, 64):  # a whole batch
            Path(f'many/{number}.png').write_text('no image')
        assert predict.main([many, '--json', 'found.json']) == 1
        out, err = capsys.readouterr()
        assert err.startswith("error: image 'many/7.png' cannot be read whole: ")
        assert "; image 'many/63.png' cannot be read whole: " in err
        assert '; the other 68 of 101 images are predicted' in err
        assert err.count('\n') == 1
        numbers = [i for i in range(101) if i != 7 and not 32 <= i < 64]
        text = Path('found.json').read_text()
        found = json.loads(text)
        assert [i['image'] for i in found['images']] == [f'many/{i}.png' for i in numbers]
        assert [i['predictions'][0]['label'] for i in found['images']] == [str(i % 2) for i in numbers]
        assert text == json.dumps(found, indent=1) + '\n'
        assert 'many/7.png' not in out
        Path('found.json').unlink()
        assert 'are predicted' not in refused(capsys, predict, 'many/7.png', '--json', 'found.json')
        assert not Path('found.json').exists()


class TestPublish:
    def test_files_hold_the_averaged_weights_and_what_they_are_of(self, trained, published):
        ours = torch.load(published['.pth'], weights_only=True)
        whole = read(str(trained[1] / 'epoch_1.pth'))
        assert set(ours) == {'meta', 'state_dict'}
        assert set(ours['meta']) == {'epoch', 'iter', 'mmengine_version', 'dataset_meta', 'ranet_mm'}
        assert ours['meta']['dataset_meta']['classes'] == ('cat', 'dog')
        assert all(torch.equal(value, whole['state_dict'][key]) for key, value in ours['state_dict'].items())
        about = description.of_checkpoint(read(str(published['.safetensors'])), {})
        assert about == {
            'architecture': 'attention56_cifar',
            'model_args': {'stem_stride': 2, 'stem_pool': True, 'width': 0.125},
            'pretrained_cfg': {
                'mean': [0.4] * 3, 'std': [0.2] * 3, 'label_names': ['cat', 'dog'], 'num_classes': 2,
                'input_size': [3, 32, 32], 'crop_pct': 1.0, 'crop_mode': 'center',
            },
            'pipeline': [dict(type='ranet_mm.LoadImage'), dict(type='PackInputs')],
            'data_preprocessor': dict(mean=[102.0] * 3, std=[51.0] * 3, to_rgb=False),
            'exclusive': True,
        }  # fmt: skip

    def test_names_tell_the_content_and_nothing_is_replaced(self, trained, published, capsys):
        for path in published.values():
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            assert path.name == f'tiny-{digest[:8]}{path.suffix}'
        folder = published['.pth'].parent
        before = {p: p.read_bytes() for p in folder.iterdir()}
        err = refused(capsys, publish, trained[1] / 'epoch_1.pth', folder / 'tiny')
        assert 'exists already' in err
        assert {p: p.read_bytes() for p in folder.iterdir()} == before

    def test_weights_as_trained(self, trained):
        assert publish.main([str(trained[1] / 'epoch_1.pth'), 'new/raw.pth', '--no-ema']) == 0
        (path,) = Path('new').glob('raw-*.pth')
        kept = read(str(trained[1] / 'epoch_1.pth'))
        found = torch.load(path, weights_only=True)['state_dict']
        key = 'backbone.stem.conv.weight'
        assert torch.equal(found[key], kept['ema_state_dict'][f'module.{key}'])
        assert not torch.equal(found[key], kept['state_dict'][key])

    def test_timm_loads_them_by_name(self, trained, published, capsys):
        options = dict(width=0.125, stem_stride=2, stem_pool=True)
        loaded = [
            timm.create_model(
                'attention56_cifar',
                **options,
                pretrained=True,
                pretrained_cfg_overlay=dict(file=str(path), num_classes=2),
            )
            for path in published.values()
        ]
        loaded.append(
            timm.create_model(
                'attention56_cifar', **options, num_classes=2, checkpoint_path=str(published['.safetensors'])
            )
        )
        publish.main([str(trained[1] / 'epoch_1.pth'), 'printed/tiny'])
        call = capsys.readouterr().out.splitlines()[-1].removeprefix('timm: ')
        loaded.append(eval(call, dict(timm=timm)))
        assert loaded[-1].pretrained_cfg['mean'] == (0.4, 0.4, 0.4)
        state = torch.load(published['.pth'], weights_only=True)['state_dict']
        for model in loaded:
            assert all(torch.equal(v, state.get(k, state.get(f'backbone.{k}'))) for k, v in model.state_dict().items())

    @pytest.mark.parametrize('ending', ['.pth', '.safetensors'])
    def test_openmmlab_loads_them(self, trained, published, ending):
        argv = [trained[0], str(published[ending]), '--work-dir', 'other', '--dump', 'again.npz']
        assert test.main(argv) == 0
        again, before = (predictions.read(p) for p in ('again.npz', str(trained[1] / 'scores.npz')))
        assert torch.equal(again.scores, before.scores)

    def test_a_training_checkpoint_of_timm(self):
        from argparse import Namespace

        model = timm.create_model('attention56_cifar', width=0.125, num_classes=3)
        average = {k: v + 1 for k, v in model.state_dict().items()}
        torch.save(
            dict(
                arch='attention56_cifar', args=Namespace(lr=1), state_dict=model.state_dict(), optimizer={},
                state_dict_ema=average,
            ),
            'last.pth.tar',
        )  # fmt: skip
        found = read('last.pth.tar')
        assert description.of_checkpoint(found, found['state_dict'])['architecture'] == 'attention56_cifar'
        state, averaged = weights_of(found)
        assert averaged
        assert torch.equal(state['head.fc.bias'], average['head.fc.bias'])
        state, averaged = weights_of(found, averaged=False)
        assert not averaged
        assert torch.equal(state['head.fc.bias'], model.state_dict()['head.fc.bias'])

    def test_of_a_detector_there_is_no_file_for_timm(self):
        torch.save(dict(meta={}, state_dict={'backbone.a': torch.ones(1), 'neck.b': torch.ones(1)}), 'detector.pth')
        assert publish.main(['detector.pth', 'out/detector']) == 0
        (path,) = Path('out').iterdir()
        assert list(torch.load(path, weights_only=True)['state_dict']) == ['backbone.a', 'neck.b']

    def test_bad_input(self, capsys, trained):
        torch.save(dict(state_dict={'head.fc.bias': torch.ones(2)}), 'bare.pth')
        assert "checkpoint 'none.pth' does not exist" in refused(capsys, publish, 'none.pth', 'out')
        assert 'has no averaged weights' in refused(capsys, publish, 'bare.pth', 'out', '--ema')
        err = refused(capsys, publish, trained[1] / 'epoch_1.pth', 'out', '--model', 'attention92_cifar')
        assert 'weights do not fit' in err
        assert not list(Path().glob('out*'))


def test_a_checkpoints_config_is_read_and_not_run():
    text = """
import os
os.environ['RAN'] = 'yes'
model = dict(
    backbone=dict(type='ranet_mm.ResidualAttentionNet', arch='attention92_cifar', p=2, norm_cfg=dict(type='SyncBN')),
    head=dict(loss=os.getcwd()))
data_preprocessor = dict(mean=[51, 102, 255], std=[255, 255, 255])
"""
    found = description.of_checkpoint(dict(meta=dict(cfg=text)), {})
    assert found['architecture'] == 'attention92_cifar'
    assert found['model_args'] == {'p': 2}
    assert found['pretrained_cfg']['mean'] == [0.2, 0.4, 1.0]
    assert 'RAN' not in os.environ


class TestPredictions:
    @pytest.fixture
    def dumped(self):
        """500 predictions of 4 classes, the last of which is never right, as arrays."""
        generator = np.random.default_rng(0)
        labels = generator.integers(0, 4, 500)
        scores = generator.dirichlet([1] * 4, 500)
        scores[np.arange(500), labels] += (labels < 3) * 0.5
        scores = (scores / scores.sum(1, keepdims=True)).astype(np.float32)
        found = predictions.Predictions(torch.from_numpy(scores), torch.from_numpy(labels), (), tuple('abcd'))
        predictions.write_npz('dumped.npz', found)
        return found

    def test_both_formats_hold_the_same(self, trained):
        arrays, pickled = (predictions.read(str(trained[1] / f'scores.{e}')) for e in ('npz', 'pkl'))
        assert torch.equal(arrays.scores, pickled.scores)
        assert torch.equal(arrays.labels, pickled.labels)
        assert list(arrays.images) == list(pickled.images)
        assert arrays.scores.shape == (12, 2)
        assert tuple(arrays.classes) == ('cat', 'dog')
        with np.load(trained[1] / 'scores.npz', allow_pickle=False) as file:
            assert file['scores'].dtype == np.float32

    def test_confusion_matrix_is_that_of_scikit_learn(self, dumped, capsys):
        expected = metrics.confusion_matrix(dumped.labels, dumped.scores.argmax(1))
        assert confusion_matrix.main(['dumped.npz', '--csv', 'counts.csv', '--png', 'counts.png']) == 0
        with open('counts.csv', newline='') as file:
            head, *rows = csv.reader(file)
        assert head == ['', *'abcd']
        assert [list(map(int, row[1:])) for row in rows] == expected.tolist()
        assert Path('counts.png').read_bytes().startswith(b'\x89PNG')
        np.fill_diagonal(expected, 0)
        i, j = np.unravel_index(expected.argmax(), (4, 4))
        assert f'{expected.max()} x {"abcd"[i]} taken for {"abcd"[j]}\n' in capsys.readouterr().out

    def test_metrics_are_those_of_scikit_learn(self, dumped, capsys):
        assert eval_metric.main(['dumped.npz', '--json', '--per-class', '--topk', '1', '2']) == 0
        found = json.loads(capsys.readouterr().out)
        labels, scores = dumped.labels.numpy(), dumped.scores.numpy()
        rows = metrics.precision_recall_fscore_support(labels, scores.argmax(1), zero_division=0)
        for name, values in zip(('precision', 'recall', 'f1'), rows, strict=False):
            assert [found['per_class'][c][name] for c in 'abcd'] == pytest.approx(100 * values)
            assert found[name] == pytest.approx(100 * values.mean())
        for k in (1, 2):
            expected = metrics.top_k_accuracy_score(labels, scores, k=k)
            assert found[f'accuracy/top{k}'] == pytest.approx(100 * expected)
        assert found['log loss'] == pytest.approx(metrics.log_loss(labels, scores), rel=1e-4)

    def test_absent_classes_and_more_outputs_than_names(self, dumped, capsys):
        """Of 6 outputs 4 have names; images show the first and the third class, and one that has no name."""
        labels = torch.tensor([0, 2, 5])[dumped.labels % 3]
        scores = torch.cat([dumped.scores, dumped.scores[:, :2].flip(0)], 1) / 2
        found = predictions.Predictions(scores, labels, (), tuple('abcd'))
        predictions.write_npz('fewer.npz', found)
        assert eval_metric.main(['fewer.npz', '--json', '--per-class']) == 0
        measured = json.loads(capsys.readouterr().out)
        assert measured['absent'] == ['b', 'd', '4']
        present = dict(labels=[0, 2, 5], zero_division=0)
        rows = metrics.precision_recall_fscore_support(labels, scores.argmax(1), **present)
        macro = metrics.precision_recall_fscore_support(labels, scores.argmax(1), average='macro', **present)
        for name, values, mean in zip(('precision', 'recall', 'f1'), rows, macro, strict=False):
            assert [measured['per_class'][c][name] for c in ('a', 'c', '5')] == pytest.approx(100 * values)
            assert measured[name] == pytest.approx(100 * mean)
            assert [measured['per_class'][c][name] for c in ('b', 'd', '4')] == [None] * 3
        assert eval_metric.main(['fewer.npz', '--per-class']) == 0
        out = capsys.readouterr().out
        assert 'macro averages are over the 3 of 6 classes that the images show; b, d, 4 are absent\n' in out
        assert ['b', '-', '-', '-'] in [line.split() for line in out.splitlines()]
        assert confusion_matrix.main(['fewer.npz', '--csv', 'counts.csv', '--png', 'counts.png']) == 0
        assert '3 of 6 classes are shown by the images; b, d, 4 are absent\n' in capsys.readouterr().out
        with open('counts.csv', newline='') as file:
            head, *counts = csv.reader(file)
        assert head == ['', *'abcd', '4', '5']
        expected = metrics.confusion_matrix(labels, scores.argmax(1), labels=range(6))
        assert [list(map(int, row[1:])) for row in counts] == expected.tolist()

    def test_two_classes_of_one_name_are_two(self, dumped, capsys):
        dumped.classes = ('a', 'crane', 'crane', 'd')
        predictions.write_npz('dumped.npz', dumped)
        assert eval_metric.main(['dumped.npz', '--json', '--per-class']) == 0
        measured = json.loads(capsys.readouterr().out)
        assert list(measured['per_class']) == ['a', 'crane (1)', 'crane (2)', 'd']
        mean = metrics.recall_score(dumped.labels, dumped.scores.argmax(1), average='macro')
        assert measured['recall'] == pytest.approx(100 * mean)

    def test_metrics_of_mmpretrain(self, trained, capsys):
        argv = [str(trained[1] / 'scores.pkl'), '--metric', 'type=Accuracy', 'topk=1']
        assert eval_metric.main(argv) == 0
        theirs = json.loads(capsys.readouterr().out)
        assert eval_metric.main([str(trained[1] / 'scores.npz'), '--json']) == 0
        assert json.loads(capsys.readouterr().out)['accuracy/top1'] == pytest.approx(theirs['accuracy/top1'])

    def test_a_file_that_would_run_code_is_refused(self, capsys):
        class Bomb:
            def __reduce__(self):
                return os.mkdir, ('exploded',)

        class Nested:  # PyTorch's own reader of storages would run it
            def __reduce__(self):
                return torch.storage._load_from_bytes, (pickle.dumps(Bomb()),)

        for bomb in (Bomb(), Nested()):
            Path('bomb.pkl').write_bytes(pickle.dumps([bomb]))
            assert 'cannot be read' in refused(capsys, eval_metric, 'bomb.pkl')
        assert not Path('exploded').exists()

    @pytest.mark.slow('many commands')
    def test_bad_input(self, dumped, capsys):
        for command, option in itertools.product((confusion_matrix, eval_metric), ('none.npz', 'image.png')):
            Path('image.png').touch()
            err = refused(capsys, command, option)
            assert 'do not exist' in err or 'must end in .pkl' in err
        Path('list.pkl').write_bytes(pickle.dumps([dict(pred_instances=1)]))
        assert 'no pred_score and no gt_label' in refused(capsys, eval_metric, 'list.pkl')
        np.savez('other.npz', weights=np.ones(3))
        assert 'cannot be read' in refused(capsys, eval_metric, 'other.npz')
        assert '--topk 9 is not allowed: it must be from 1 to 4' in refused(
            capsys, eval_metric, 'dumped.npz', '--topk', '9'
        )


class TestScheduler:
    def test_learning_rates_are_those_of_the_run(self, trained):
        argv = [trained[0], '--out', 'rates.csv', 'rates.png', '--cfg-options', 'train_cfg.max_epochs=1']
        assert vis_scheduler.main(argv) == 0
        with open('rates.csv', newline='') as file:
            rows = list(csv.DictReader(file))
        curve = json.loads((trained[1] / 'record.json').read_text())['curve']
        assert len(rows) == 6
        assert float(rows[-1]['lr']) == pytest.approx(curve[-1]['lr'], rel=1e-5)
        assert {row['momentum'] for row in rows} == {'0.9'}
        assert Path('rates.png').read_bytes().startswith(b'\x89PNG')

    def test_steps_of_epochs_and_groups(self, write_config):
        more = """
param_scheduler = [dict(type='MultiStepLR', milestones=[1, 2], gamma=0.1)]
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(_delete_=True, type='AdamW', lr=1.0),
                     paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult=10))))
train_cfg = dict(max_epochs=3)
"""
        cfg = mm_config.read_config(write_config(more))
        rows = list(vis_scheduler.schedule(cfg, 2))
        assert [row['epoch'] for row in rows] == [0, 0.5, 1, 1.5, 2, 2.5]
        assert [row['lr.0'] for row in rows] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
        assert [row['lr.1'] for row in rows] == pytest.approx([10, 10, 1, 1, 0.1, 0.1])
        assert {row['momentum.0'] for row in rows} == {0.9}

    def test_batches(self):
        from mmengine.config import ConfigDict

        cfg = ConfigDict(train_dataloader=dict(batch_size=8))
        assert vis_scheduler.batches(cfg, 100, 2) == 7
        cfg.train_dataloader.drop_last = True
        assert vis_scheduler.batches(cfg, 100, 2) == 6
        with pytest.raises(ValueError, match='14 images are not allowed: a batch has 16'):
            vis_scheduler.batches(cfg, 14, 2)

    def test_bad_input(self, write_config, capsys):
        assert "--out 'a.txt' is not allowed" in refused(capsys, vis_scheduler, write_config(), '--out', 'a.txt')
        err = refused(capsys, vis_scheduler, write_config(), '--cfg-options', 'train_dataloader.dataset.root=none')
        assert "data folder 'none' does not exist" in err


class TestBrowsing:
    def test_pictures_are_those_of_the_files_where_nothing_is_augmented(self, trained):
        cfg = mm_config.load_config(browse_dataset.parse_args([trained[0], 'a.png']))
        shown = list(browse_dataset.images(cfg, 'test', 5))
        assert [text for _, text in shown] == ['cat'] * 5
        for number, (seen, _) in enumerate(shown):
            file = predict.read_image(str(trained[1].parent / f'images/test/cat/{number}.png'))
            expected = torch.from_numpy(np.array(file)).permute(2, 0, 1) / 255
            assert torch.allclose(seen, expected, atol=1e-5)

    def test_mixtures_show_their_shares(self, write_config, capsys):
        more = "model['train_cfg'] = dict(augments=[dict(type='Mixup', alpha=1.0)])\n"
        config = write_config(more)
        assert browse_dataset.main([config, 'new/shown.png', '--number', '6', '--columns', '3']) == 0
        assert '6 images of train, the first of 32x32 pixels, drawn to new/shown.png' in capsys.readouterr().out
        cfg = mm_config.load_config(browse_dataset.parse_args([config, 'a.png']))
        texts = [text for _, text in browse_dataset.images(cfg, 'train', 12)]
        mixed = [re.fullmatch(r'(0\.\d\d) (cat|dog) (0\.\d\d) (cat|dog)', text) for text in texts]
        assert any(mixed)
        assert all(float(m[1]) + float(m[3]) == pytest.approx(1, abs=0.011) for m in mixed if m)

    def test_data_sets_of_mmpretrain(self, write_config, images):
        more = f"""
root = {str(images / 'train')!r}
pipeline = [dict(type='LoadImageFromFile'), dict(type='ResizeEdge', scale=48), dict(type='PackInputs')]
train_dataloader['dataset'] = dict(_delete_=True, type='CustomDataset', data_root=root, pipeline=pipeline)
"""
        cfg = mm_config.load_config(browse_dataset.parse_args([write_config(more), 'a.png']))
        shown = list(browse_dataset.images(cfg, 'train', 3))
        assert {tuple(seen.shape) for seen, _ in shown} == {(3, 48, 48)}
        assert {text for _, text in shown} <= {'cat', 'dog'}

    def test_bad_input(self, write_config, capsys):
        assert '--number 0 is not allowed' in refused(capsys, browse_dataset, 'a.py', 'a.png', '--number', '0')
        err = refused(capsys, browse_dataset, write_config('test_dataloader = None\n'), 'a.png', '--split', 'test')
        assert 'has no test_dataloader' in err


class TestBenchmark:
    @pytest.mark.parametrize('mode', [(), ('--train', '--channels-last')])
    def test_report(self, mode, capsys):
        names = ['attention56_cifar', 'attention56_table1']
        argv = ['--options', 'width=0.125', '--batch-size', '2', '--rounds', '2', '--seconds', '0.001']
        assert benchmark.main([*names, *argv, *mode, '--json', 'found.json']) == 0
        found = json.loads(Path('found.json').read_text())
        assert [m['name'] for m in found['models']] == names
        assert found['mode'] == ('train' if mode else 'forward')
        first, second = found['models']
        assert first['ratio'] == dict(median=1, lowest=1, highest=1)
        ratios = [b / a for a, b in zip(first['turns'], second['turns'], strict=True)]
        assert second['ratio']['lowest'] == pytest.approx(min(ratios))
        model = timm.create_model(names[0], width=0.125)
        assert first['params'] == sum(p.numel() for p in model.parameters())
        # Weights, and in training their gradients and momentum.
        assert first['peak_mib'] * 2**20 > first['params'] * 4 * (3 if mode else 1)
        assert capsys.readouterr().out.count('\n') == 4

    @pytest.mark.slow('timings in turns, and a compiler')
    def test_forms_labels_baseline_and_bound(self, capsys):
        Path('port.py').write_text(
            'from torch import nn\ndef make():\n    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())\n'
        )
        names = [
            'attention56_cifar',
            'port=port.py:make',
            '--forms',
            'channels_last',
            'deploy',
            '--baseline',
            'port channels_last',
        ]
        options = [
            '--options',
            'width=0.125',
            '--batch-size',
            '2',
            '--rounds',
            '2',
            '--seconds',
            '0.001',
            '--size',
            '32',
        ]
        assert benchmark.main([*names, *options, '--bound', '--json', 'found.json']) == 0
        found = {m['name']: m for m in json.loads(Path('found.json').read_text())['models']}
        forms = ['attention56_cifar channels_last', 'attention56_cifar deploy', 'port channels_last']
        alone = ['convolutions of attention56_cifar channels_last', 'convolutions of port channels_last']
        assert sorted(found) == sorted(forms + alone)
        assert found[forms[2]]['ratio']['median'] == 1
        turns = zip(found[alone[0]]['turns'], found[forms[1]]['turns'], strict=True)
        assert found[forms[1]]['over_bound']['highest'] == pytest.approx(max(a / b for a, b in turns))
        assert 'port has no form deploy, which is left out' in capsys.readouterr().err
        assert "--baseline 'none' is not allowed: it must be one of" in refused(
            capsys, benchmark, *names[:2], *options, '--baseline', 'none'
        )
        assert benchmark.main([names[1], *options, '--forms', 'deploy']) == 1
        assert 'no model of these has such a form' in capsys.readouterr().err

    def test_peak_memory(self):
        values = 2**18  # a MiB of float32

        def step():
            a = torch.zeros(3 * values)
            del a
            b, c = torch.zeros(values), torch.zeros(values)
            assert len(b) == len(c)

        assert speed.highest([3, -3, 2, 2, -1]) == 4
        assert speed.peak_memory(step, torch.device('cpu'), 2**20) == pytest.approx(4, abs=0.01)

    def test_models_take_turns_and_another_one_begins_each_round(self, monkeypatch):
        order = []
        contenders = [speed.Contender(name, 1, lambda name=name: order.append(name), 5) for name in 'abc']
        monkeypatch.setattr(speed, 'seconds', lambda step, steps, device: step() or 1.0)
        speed.measure(contenders, 3, 2, torch.device('cpu'))
        assert ''.join(order) == 'abc' + 'abc' + 'bca' + 'cab'
        assert contenders[0].speeds == [10.0] * 3  # two steps of five images in what counts as a second

    def test_bad_input(self, capsys):
        assert "model 'atention56' is not known" in refused(capsys, benchmark, 'atention56')
        assert "device='abacus' is not allowed" in refused(capsys, benchmark, 'resnet18', '--device', 'abacus')
        assert '--rounds 0 is not allowed' in refused(capsys, benchmark, 'resnet18', '--rounds', '0')
        err = refused(capsys, benchmark, 'attention56_cifar', '--options', 'widht=0.125')
        assert "'widht'" in err


def test_options_that_cannot_be_read_are_refused_in_a_sentence(capsys):
    for option in ('model', "a=[dict(type='X', b=1)]"):
        assert '--cfg-options takes KEY=VALUE' in refused(capsys, train, 'none.py', '--cfg-options', option)


def test_a_missing_file_is_told_without_an_error_number(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        (tmp_path / 'none.json').read_text()
    assert program.sentence(error.value) == f'file {str(tmp_path / "none.json")!r} does not exist'


def test_a_name_from_a_file_does_not_steer_the_terminal():
    assert program.sentence(ValueError('key a\x1b[2J\nb is unexpected')) == r'key a\x1b[2J b is unexpected'


def test_version(capsys):
    assert ranet.main(['--version']) == 0
    assert capsys.readouterr().out == f'ranet_mm {ranet_mm.__version__}\n'
