"""Files from elsewhere: each way in which one could run code, or take all memory, is refused in one sentence."""

import argparse
import builtins
import functools
import json
import os
import pickle
import re
import runpy
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_tools import refused

pytest.importorskip('timm')
pytest.importorskip('mmpretrain')
pytest.importorskip('safetensors')

import timm
from mmengine.runner.checkpoint import _load_checkpoint
from mmpretrain import get_model
from safetensors.torch import save_file

from ranet_mm import hub, images, weights
from ranet_mm.cli import card, confusion_matrix, convert, eval_metric, export, metafile, predict, publish, sweep, train
from ranet_mm.cli import test as test_command
from ranet_mm.timm.residual_attention import RANet
from ranet_mm.weights.read import ABOUT, npz
from ranet_mm.weights.read import read as read_checkpoint

MARKER = 'ran'
CODE = f'open({MARKER!r}, "w").close()'
SMALL = dict(arch='attention56_cifar', width=0.125, num_classes=10)
TERABYTE = 2**40


class Calls:
    """Unpickled, it calls a function."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


class Builds:
    """Unpickled, it gives an object its state."""

    def __reduce__(self):
        return argparse.Namespace, (), Calls(eval, CODE)


def stored(content, name='file.pth', **kwargs):
    torch.save(content, name, **kwargs)
    return name


def beside(value, **more):
    """A checkpoint with something beside its weights."""
    return dict(state_dict=state(), code=value, **more)


@functools.cache
def state():
    torch.manual_seed(0)
    return RANet(**SMALL).state_dict()


def refusal(call):
    """What is said of it; of `getattr`, a stand-in refuses all but the methods that MMEngine's histories name."""
    return 'it is damaged or no checkpoint' if call == 'getattr' else r'it holds \S+, which is not safe to load'


# What code can hide in -----------------------------------------------------------------------------------

CALLS = {
    'os.system': (os.system, f'touch {MARKER}'),
    'eval': (eval, CODE),
    'exec': (exec, CODE),
    'compiled': (compile, CODE, 'x', 'exec'),
    'import': (__import__, 'antigravity'),
    'getattr': (getattr, np.ndarray, 'tofile'),
    'open': (builtins.open, MARKER, 'w'),
    'run_path': (runpy.run_path, 'code.py'),
    'torch.load': (torch.load, 'inner.pth'),
    'torch.hub': (torch.hub.load, '.', 'model', 'x'),
    'nested storage': (torch.storage._load_from_bytes, pickle.dumps(Calls(eval, CODE))),
    'numpy.load': (np.load, 'inner.npy', None, True),
}  # fmt: skip
CONTAINERS = {
    'zip': {},
    'legacy': dict(_use_new_zipfile_serialization=False),
}


def overlay(path):
    overlaid = dict(file=path, num_classes=10)
    return timm.create_model('attention56_cifar', pretrained=True, pretrained_cfg_overlay=overlaid)


# Every way in by which a file of weights comes. Those of programs give their exit code.
READERS = {
    'read': read_checkpoint,
    'load_from, resume and init_cfg': lambda path: _load_checkpoint(path, 'cpu'),
    'timm checkpoint_path': lambda path: timm.create_model('attention56_cifar', checkpoint_path=path),
    'timm load_checkpoint': lambda path: timm.models.load_checkpoint(RANet(**SMALL), path),
    'timm pretrained_cfg_overlay': overlay,
    'mmpretrain get_model': lambda path: get_model('att56_cifar10', pretrained=path),
}
PROGRAMS = {
    'predict': lambda path: (predict, 'image.png', '--checkpoint', path),
    'publish': lambda path: (publish, path, 'out'),
    'convert': lambda path: (convert, path, 'out.pth', '--from', 'openmmlab', '--to', 'timm'),
    'convert of a port': lambda path: (convert, path, 'out.pth', '--from', 'tengshaofeng', '--to', 'timm'),
    'export': lambda path: (export, 'attention56_cifar', 'out.onnx', '--checkpoint', path),
    'test': lambda path: (test_command, 'ranet/att56_digits', path, '--work-dir', 'run'),
    'train, load_from': lambda path: (
        train, 'ranet/att56_digits', '--work-dir', 'run', '--cfg-options', f'load_from={path}'),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _nothing_runs():
    hub.read_safely()
    Path('code.py').write_text(CODE)
    Image.new('RGB', (32, 32)).save('image.png')
    Path('inner.pth').write_bytes(pickle.dumps(Calls(eval, CODE)))
    np.save('inner.npy', np.array([Calls(eval, CODE)], object), allow_pickle=True)
    yield
    assert not Path(MARKER).exists()


def test_the_code_would_run_by_pickle_itself():
    pickle.loads(pickle.dumps(Calls(eval, CODE)))
    assert Path(MARKER).exists()
    Path(MARKER).unlink()


class TestCode:
    @pytest.mark.parametrize('container', CONTAINERS)
    @pytest.mark.parametrize('call', CALLS)
    def test_in_a_checkpoint(self, call, container):
        path = stored(beside(Calls(*CALLS[call])), **CONTAINERS[container])
        with pytest.raises(ValueError, match=rf"^checkpoint 'file.pth' cannot be read: {refusal(call)}$"):
            read_checkpoint(path)

    @pytest.mark.parametrize('legacy', [False, True])
    def test_in_a_later_protocol_of_pickle(self, legacy):
        path = stored(beside(Calls(eval, CODE)), pickle_protocol=4, _use_new_zipfile_serialization=not legacy)
        with pytest.raises(ValueError, match=r"^checkpoint 'file.pth' cannot be read: "):
            read_checkpoint(path)

    @pytest.mark.parametrize('content', [Builds(), Calls(torch.nn.Linear, 1, 1), torch.nn.Linear(1, 1), Path()])
    def test_objects(self, content):
        with pytest.raises(ValueError, match=r'not safe to load$'):
            read_checkpoint(stored(beside(content)))

    def test_a_bare_pickle(self):
        Path('file.pth').write_bytes(pickle.dumps(beside(Calls(eval, CODE)), protocol=2))
        with pytest.raises(ValueError, match=r"^checkpoint 'file.pth' cannot be read: "):
            read_checkpoint('file.pth')

    def test_a_scripted_model(self):
        torch.jit.script(torch.nn.Linear(1, 1)).save('file.pth')
        with pytest.raises(ValueError, match=r"^checkpoint 'file.pth' cannot be read: "):
            read_checkpoint('file.pth')

    @pytest.mark.parametrize('reader', READERS)
    @pytest.mark.parametrize('container', ['zip', 'legacy'])
    def test_by_every_way_in(self, reader, container):
        path = stored(beside(Calls(eval, CODE)), **CONTAINERS[container])
        with pytest.raises(ValueError, match=r"'file.pth' cannot be read: it holds eval, which is not safe to load"):
            READERS[reader](path)

    @pytest.mark.parametrize('program', PROGRAMS)
    def test_by_every_program(self, program, capsys):
        command, *args = PROGRAMS[program](stored(beside(Calls(eval, CODE))))
        err = refused(capsys, command, *args)
        assert "checkpoint 'file.pth' cannot be read: it holds " in err
        assert not Path('out.pth').exists() and not Path('out.onnx').exists()

    def test_in_the_state_of_an_optimizer(self, capsys):
        Path('run').mkdir()
        content = beside(None, meta=dict(epoch=1, iter=1), message_hub={}, optimizer=dict(state=Calls(eval, CODE)))
        Path('run/last_checkpoint').write_text(str(Path(stored(content, 'run/epoch_1.pth')).resolve()))
        err = refused(capsys, train, 'ranet/att56_digits', '--work-dir', 'run', '--resume')
        assert 'eval, which is not safe to load' in err

    @pytest.mark.parametrize('read', [read_checkpoint, npz])
    def test_in_arrays(self, read, capsys):
        np.savez('file.npz', w=np.array([Calls(eval, CODE)], object))
        with pytest.raises(ValueError, match=r"'file.npz' cannot be read: "):
            read('file.npz')
        assert 'cannot be read' in refused(
            capsys, convert, 'file.npz', 'out.pth', '--from', 'caffe-npz', '--to', 'timm', '--arch', 'attention56'
        )

    @pytest.mark.parametrize('command', [eval_metric, confusion_matrix])
    @pytest.mark.parametrize('call', ['eval', 'os.system', 'nested storage', 'getattr'])
    def test_in_predictions(self, command, call, capsys):
        Path('scores.pkl').write_bytes(pickle.dumps([dict(pred_score=Calls(*CALLS[call]))]))
        assert "predictions 'scores.pkl' cannot be read: " in refused(capsys, command, 'scores.pkl')
        np.savez('scores.npz', scores=np.array([Calls(*CALLS[call])], object), labels=np.zeros(1))
        assert "predictions 'scores.npz' cannot be read: " in refused(capsys, command, 'scores.npz')

    @pytest.mark.parametrize('tag', ['python/object/apply:os.system', 'python/name:os.system', 'python/module:os'])
    def test_in_yaml(self, tag, capsys):
        Path('grid.yml').write_text(f'config: !!{tag} [touch {MARKER}]\n')
        assert "sweep file 'grid.yml' cannot be read: " in refused(capsys, sweep, 'grid.yml')
        Path('configs/ranet').mkdir(parents=True)
        Path('configs/ranet/metafile.yml').write_text(f'Models: !!{tag} [touch {MARKER}]\n')
        refused(capsys, metafile)

    def test_in_a_config_that_a_checkpoint_carries(self, capsys):
        text = f'import os\n{CODE}\nmodel = dict(backbone=dict(type={CODE}))\n_base_ = {CODE!r}\n'
        path = stored(dict(state_dict=state(), meta=dict(cfg=text, config=text)))
        assert 'name one by --model' in refused(capsys, predict, 'image.png', '--checkpoint', path)
        assert 'config' not in _load_checkpoint(path, 'cpu')['meta']

    @pytest.mark.parametrize(
        'step', [dict(type='os.system', command=f'touch {MARKER}'), dict(type='code.main'), dict(type='builtins.eval')]
    )
    def test_in_a_pipeline_that_a_checkpoint_carries(self, step, capsys):
        path = stored(dict(state_dict=state(), meta={ABOUT: dict(said(), pipeline=[step], data_preprocessor={})}))
        assert 'is registered neither by mmcv' in refused(capsys, predict, 'image.png', '--checkpoint', path)

    @pytest.mark.parametrize('option', [dict(checkpoint_path='inner.pth'), dict(pretrained_cfg='x'), dict(device='x')])
    def test_in_options_that_a_checkpoint_carries(self, option, capsys):
        about = said()
        path = stored(dict(state_dict=state(), meta={ABOUT: dict(about, model_args=about['model_args'] | option)}))
        err = refused(capsys, predict, 'image.png', '--checkpoint', path)
        assert f'option {next(iter(option))!r} of the checkpoint is not allowed' in err

    def test_where_other_weights_are_is_not_for_a_file_to_say(self):
        about = said()
        about['pretrained_cfg'] |= dict(file='inner.pth', url='http://localhost/x', hf_hub_id='x/y', custom_load=True)
        path = stored(dict(state_dict=state(), meta={ABOUT: about}))
        model = predict.load(None, path)
        assert not {'inner.pth', 'http://localhost/x', 'x/y'} & {*map(str, model.pretrained_cfg.values())}

    def test_in_a_record(self, capsys):
        Path('record.json').write_text('{"seed": __import__("os").system("touch ran")}')
        err = refused(capsys, card, 'attention56_cifar.digits', 'digits', 'record.json')
        assert "record 'record.json' cannot be read: " in err


def said(**model_args):
    return dict(
        architecture='attention56_cifar', model_args=dict(width=0.125) | model_args,
        pretrained_cfg=dict(num_classes=10, input_size=[3, 32, 32]),
    )  # fmt: skip


# What would take all memory, or never end ---------------------------------------------------------------


def rezipped(edit, compression=zipfile.ZIP_STORED, name='file.pth'):
    """A checkpoint whose parts are edited."""
    stored(dict(state_dict=state()), 'whole.pth')
    with zipfile.ZipFile('whole.pth') as old, zipfile.ZipFile(name, 'w', compression) as new:
        for part in old.infolist():
            for key, content in edit(part.filename, old.read(part)).items():
                new.writestr(key, content)
    return name


def bomb(name, content):
    return {name: bytes(2**26) if name.endswith('data/0') else content}


def climbing(name, content):
    """Parts beside the archive's own, one of which is a link."""
    link = zipfile.ZipInfo('whole/link')
    link.external_attr = 0o120777 << 16
    beyond = {'../../' + MARKER: 'x', '/tmp/' + MARKER: 'x', link: MARKER}
    return {name: content} | (beyond if name.endswith('pkl') else {})


def circle():
    found = []
    found.append(found)
    return found


def laughs():
    found = ['ha']
    for _ in range(60):
        found = [found, found]
    return found


def deep():
    found = []
    for _ in range(400):
        found = [found]
    return found


ONE = torch.zeros(1)
CLAIMS = {
    'repeated': lambda: ONE.expand(TERABYTE // 4),
    'strided': lambda: torch.zeros(8).as_strided((2**19, 2**19), (0, 0)),
    'sparse': lambda: torch.sparse_coo_tensor([[0], [0]], [1.0], (2**19, 2**19), check_invariants=False),
    'without values': lambda: torch.empty(TERABYTE // 4, device='meta'),
    'several times': lambda: [ONE.expand(2**17)] * 2**10,
    'bytes': lambda: Calls(bytearray, TERABYTE),
    'array': lambda: Calls(np.ndarray, (TERABYTE,)),
}


class TestMemory:
    @pytest.mark.parametrize('container', ['zip', 'legacy'])
    @pytest.mark.parametrize('claim', CLAIMS)
    def test_a_tensor_that_claims_more_than_the_file_has(self, claim, container):
        path = stored(dict(state_dict=dict(w=ONE), more=CLAIMS[claim]()), **CONTAINERS[container])
        assert Path(path).stat().st_size < 2**17
        with pytest.raises(ValueError, match=r"^checkpoint 'file.pth' cannot be read: "):
            read_checkpoint(path)

    def test_tied_and_repeated_tensors_are_no_claim(self):
        weight = torch.ones(512, 512)
        content = dict(a=weight, b=weight.t(), c=weight[0], d=ONE.expand(1000), e=torch.zeros(()))
        found = read_checkpoint(stored(content))['state_dict']
        assert all(torch.equal(found[key], value) for key, value in content.items())

    @pytest.mark.parametrize('content', [circle, laughs, deep])
    @pytest.mark.parametrize('container', ['zip', 'legacy'])
    def test_contents_without_end(self, content, container):
        found = dict(state_dict=dict(w=ONE), meta=dict(dataset_meta=dict(classes=content())))
        path = stored(found, **CONTAINERS[container])
        with pytest.raises(ValueError, match=r"'file.pth' cannot be read: what it holds is nested without end$"):
            read_checkpoint(path)

    def test_a_part_that_unpacks_to_more(self):
        path = rezipped(bomb, zipfile.ZIP_DEFLATED)
        with pytest.raises(ValueError, match=r"^checkpoint 'file.pth' cannot be read: its parts unpack to \S+ bytes"):
            read_checkpoint(path)

    def test_parts_with_other_places_and_links_are_left_where_they_are(self):
        with pytest.raises(ValueError, match=r"^checkpoint 'file.pth' cannot be read: "):
            read_checkpoint(rezipped(climbing))
        assert not Path('/tmp', MARKER).exists() and not Path('..', '..', MARKER).exists()

    @pytest.mark.parametrize(
        'options', [
            dict(width=10.0**6), dict(modules=[10**9] * 3), dict(p=10**9), dict(t=10**12), dict(r=10**9),
            dict(mask_pools=[10**9] * 3), dict(post_units=10**9), dict(post_width=2**40), dict(stem_kernel=10**6),
            dict(in_chans=10**9), dict(global_pool='flatten', img_size=10**6), dict(widths=[2**30] * 3),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize('container', ['pth', 'safetensors'])
    def test_a_network_that_the_weights_are_not_of(self, options, container, capsys):
        about = said(**options)
        if container == 'pth':
            path = stored(dict(state_dict=state(), meta={ABOUT: about}))
        else:
            path = 'file.safetensors'
            save_file(state(), path, metadata={ABOUT: json.dumps(about)})
        for command, *args in (PROGRAMS['predict'](path), PROGRAMS['publish'](path), PROGRAMS['convert'](path)):
            assert ' is no network of ' in refused(capsys, command, *args)
        with pytest.raises(ValueError, match=r'is no network of|is damaged'):
            overlay(path)

    @pytest.mark.parametrize(
        'fields',
        [dict(input_size=[3, 10**6, 10**6]), dict(crop_pct=1e-9), dict(num_classes=10**12), dict(mean=[1e300] * 3)],
    )
    def test_images_that_no_memory_holds(self, fields):
        about = said()
        about['pretrained_cfg'] |= fields
        with pytest.raises(ValueError, match='what it says of itself under meta is damaged'):
            read_checkpoint(stored(dict(state_dict=state(), meta={ABOUT: about})))

    def test_a_pipeline_that_enlarges_without_end(self):
        about = dict(said(), pipeline=[dict(type='Resize', scale=10**6)])
        with pytest.raises(ValueError, match='what it says of itself under meta is damaged'):
            read_checkpoint(stored(dict(state_dict=state(), meta={ABOUT: about})))


def header(length=None, **tensors):
    """A file of safetensors with a header that says this, and 4 bytes."""
    text = json.dumps(tensors).encode()
    return struct.pack('<Q', len(text) if length is None else length) + text + bytes(4)


def place(begin, end, shape=(1,), dtype='F32'):
    return dict(dtype=dtype, shape=shape, data_offsets=[begin, end])


HEADERS = {
    'longer than the file': header(2**62, w=place(0, 4)),
    'longest': header(2**64 - 1, w=place(0, 4)),
    'a gigabyte': header(2**30, w=place(0, 4)),
    'overlapping': header(a=place(0, 4), b=place(0, 4)),
    'beyond the file': header(w=place(4, 8)),
    'backwards': header(w=place(4, 0)),
    'negative': header(w=place(-4, 0)),
    'a terabyte': header(w=place(0, TERABYTE, (TERABYTE // 4,))),
    'a terabyte in a shape': header(w=place(0, 4, (TERABYTE,))),
    'overflowing': header(w=place(0, 4, (2**63, 2**63))),
    'other type': header(w=place(0, 4, dtype='PICKLE')),
    'with a hole': header(a=place(0, 1, dtype='U8'), b=place(3, 4, dtype='U8')),
    'nested': struct.pack('<Q', 2**20) + b'[' * 2**20,
    'no text': struct.pack('<Q', 4) + b'\xff' * 8,
}


@pytest.mark.parametrize('name', HEADERS)
def test_headers_of_safetensors(name):
    Path('file.safetensors').write_bytes(HEADERS[name])
    with pytest.raises(ValueError, match=r"'file.safetensors' cannot be read: it is damaged or no checkpoint$"):
        read_checkpoint('file.safetensors')


@pytest.mark.parametrize(
    'text', ['{', '[' * 10**5, '{"architecture": {}}', '5', '"x"', '{"architecture": "x", "model_args": 1}']
)
def test_a_description_that_is_none(text):
    save_file(dict(w=ONE), 'file.safetensors', metadata={ABOUT: text})
    with pytest.raises(ValueError, match=r"^checkpoint 'file.safetensors' cannot be read: "):
        read_checkpoint('file.safetensors')


# Images, an index, records, lists -----------------------------------------------------------------------


def png(width, height, data):
    def chunk(kind, content):
        return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))

    head = chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0))
    return b'\x89PNG\r\n\x1a\n' + head + chunk(b'IDAT', zlib.compress(data)) + chunk(b'IEND', b'')


@pytest.mark.parametrize('size', [(2**17, 2**17), (2**31 - 1, 2**31 - 1), (2**31 - 1, 1), (20_000, 20_000)])
def test_an_image_that_no_memory_holds(size, capsys):
    Path('bomb.png').write_bytes(png(*size, bytes(2**20)))
    with pytest.raises(ValueError, match=r"^image 'bomb.png' cannot be read whole: "):
        images.read('bomb.png')
    assert "image 'bomb.png' cannot be read whole: " in refused(capsys, predict, 'bomb.png')


def test_an_image_whose_notes_unpack_to_gigabytes():
    def chunk(kind, content):
        return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))

    whole, notes = png(1, 1, bytes(4)), zlib.compress(bytes(2**28))
    Path('notes.png').write_bytes(whole[:33] + chunk(b'zTXt', b'x\0\0' + notes) + whole[33:])
    with pytest.raises(ValueError, match=r"^image 'notes.png' cannot be read whole: Decompressed data too large"):
        images.read('notes.png')


@pytest.mark.parametrize(
    ('rows', 'says'),
    [
        ({'a.b': dict(file='../../inner.pth', sha256='0')}, "file='../../inner.pth' is not allowed"),
        ({'a.b': dict(file='/etc/passwd', sha256='0')}, "file='/etc/passwd' is not allowed"),
        ({'a.b': dict(file=5)}, 'file=5 is not allowed'),
        ({'a.b': dict(sha256='0')}, 'file=None is not allowed'),
        ({'a.b': dict(file='x.pth', sha256='0')}, "file='x.pth' is not allowed"),
        ([], 'a mapping of names to rows is expected'),
        ({'a.b': 5}, 'a mapping of names to rows is expected'),
    ],
)
def test_an_index_from_elsewhere(rows, says):
    Path('index.json').write_text(json.dumps(rows))
    with pytest.raises(ValueError, match=rf"^index 'index.json' cannot be read: {re.escape(says)}"):
        weights.index('.')


def test_an_index_that_is_no_json():
    Path('index.json').write_bytes(b'\xff{')
    with pytest.raises(ValueError, match=r"^index 'index.json' cannot be read: "):
        weights.index('.')
