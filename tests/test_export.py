"""`ranet export`: each format gives the model's logits, and bad input is refused in a sentence."""

from pathlib import Path

import pytest
import torch

pytest.importorskip('timm', reason='timm is not installed: pip install timm')
pytest.importorskip('sklearn', reason='scikit-learn is not installed: pip install scikit-learn')

import timm

from ranet_mm import weights
from ranet_mm.cli import export

SHORT = dict(modules=(1,), widths=(32,), strides=(2,), mask_pools=(1,), post_units=1, post_width=64)
ARGS = ['attention56_cifar', '--model-kwargs', *(f'{k}={v}' for k, v in SHORT.items())]


def run(out, *more):
    return export.main([ARGS[0], str(out), *ARGS[1:], *more])


@pytest.fixture(params=['.onnx', '.pt', '.pt2'])
def out(request, tmp_path):
    if request.param == '.onnx':
        for name in ('onnxscript', 'onnxruntime'):
            pytest.importorskip(name, reason=f'{name} is not installed: pip install onnxscript onnxruntime')
    return tmp_path / f'model{request.param}'


@pytest.mark.slow('exports')
@pytest.mark.parametrize('form', [(), ('--deploy',)], ids=str)
def test_logits_of_any_batch_and_size(out, form, capsys):
    torch.manual_seed(0)
    assert run(out, *form) == 0
    printed = capsys.readouterr().out
    assert [line.split(':')[0] for line in printed.splitlines()] == ['32x32', '41x41', 'written and checked']
    torch.manual_seed(0)
    model = timm.create_model('attention56_cifar', **SHORT).eval()
    exported = export.FORMATS[out.suffix][1](out)
    images = torch.randn(3, 3, 45, 67)
    torch.testing.assert_close(exported(images), model(images), rtol=1e-4, atol=1e-4)


@pytest.mark.slow('exports')
def test_nodes_of_onnx_have_the_names_of_their_modules(tmp_path):
    """Each convolution, that of the mask too, and no path of this machine."""
    onnx = pytest.importorskip('onnx')
    pytest.importorskip('onnxscript')
    assert run(tmp_path / 'model.onnx') == 0
    nodes = onnx.load(tmp_path / 'model.onnx').graph.node
    named = {node.name.partition('/')[0] for node in nodes}
    model = timm.create_model('attention56_cifar', **SHORT)
    for part in ('stem', 'stages.0.1.pre.0', 'stages.0.1.mask', 'stages.0.1.trunk.0', 'head'):
        assert model.get_submodule(part) and any(name.startswith(part) for name in named), part
    assert len({node.name for node in nodes}) == len(nodes)
    assert str(Path(export.__file__).parents[1]).encode() not in (tmp_path / 'model.onnx').read_bytes()


def test_openvino_file_of_one_size(tmp_path, capsys):
    openvino = pytest.importorskip('openvino', reason="openvino is not installed: pip install 'ranet_mm[runtimes]'")
    torch.manual_seed(0)
    assert run(tmp_path / 'model.xml') == 0
    assert [line.split(':')[0] for line in capsys.readouterr().out.splitlines()] == ['32x32', 'written and checked']
    torch.manual_seed(0)
    model, images = timm.create_model('attention56_cifar', **SHORT).eval(), torch.randn(3, 3, 32, 32)
    found = openvino.compile_model(tmp_path / 'model.xml', 'CPU', dict(INFERENCE_PRECISION_HINT='f32'))(images.numpy())
    torch.testing.assert_close(torch.from_numpy(found[0]), model(images), rtol=1e-4, atol=1e-4)
    (tmp_path / 'other.bin').write_text('precious')
    assert run(tmp_path / 'other.xml') == 1
    assert "other.bin' exists: --overwrite replaces it" in capsys.readouterr().err


@pytest.mark.slow('exports')
def test_int8_file_is_smaller_and_near(tmp_path, images, capsys):
    for name in ('openvino', 'nncf'):
        pytest.importorskip(name, reason=f"{name} is not installed: pip install 'ranet_mm[runtimes]'")
    for name, more in (('float', []), ('int8', ['--int8', str(images / 'train')])):
        torch.manual_seed(0)
        assert run(tmp_path / f'{name}.xml', *more) == 0
    assert '12 images to calibrate with; ' in capsys.readouterr().out
    exact, small = (export.FORMATS['.xml'][1](tmp_path / f'{name}.xml') for name in ('float', 'int8'))
    assert (tmp_path / 'int8.bin').stat().st_size < 0.4 * (tmp_path / 'float.bin').stat().st_size
    some = torch.randn(3, 3, 32, 32)
    torch.testing.assert_close(small(some), exact(some), rtol=0, atol=0.1 * exact(some).abs().max().item())
    torch.manual_seed(0)
    assert run(tmp_path / 'again.xml', '--int8', str(images / 'train')) == 0
    assert (tmp_path / 'again.bin').read_bytes() == (tmp_path / 'int8.bin').read_bytes()


@pytest.mark.slow('exports')
def test_flattening_network_keeps_its_size(out, capsys):
    assert run(out, 'flatten=True') == 0
    assert capsys.readouterr().out.startswith('32x32: logits differ')
    assert export.FORMATS[out.suffix][1](out)(torch.randn(3, 3, 32, 32)).shape == (3, 10)


@pytest.mark.parametrize('prefix', ['', 'backbone.'])
def test_weights_of_a_checkpoint(tmp_path, prefix):
    torch.manual_seed(1)
    model = timm.create_model('attention56_cifar', num_classes=4, in_chans=1, **SHORT).eval()
    state = {k if k.startswith('head.') else prefix + k: v for k, v in model.state_dict().items()}
    torch.save(dict(state_dict=state), tmp_path / 'trained.pth')
    args = ['in_chans=1', '--num-classes', '4', '--checkpoint', str(tmp_path / 'trained.pth')]
    assert run(tmp_path / 'model.pt', *args) == 0
    images = torch.randn(1, 1, 32, 32)
    torch.testing.assert_close(torch.jit.load(tmp_path / 'model.pt')(images), model(images))
    path = weights.save(state, tmp_path, 'attention56_cifar.own')
    assert run(tmp_path / 'model.pt', *args[:3], '--checkpoint', str(path), '--overwrite') == 0


def test_weights_of_another_architecture_are_refused(tmp_path, capsys):
    torch.save(timm.create_model('attention56_cifar', width=0.125).state_dict(), tmp_path / 'other.pth')
    assert run(tmp_path / 'model.pt', '--checkpoint', str(tmp_path / 'other.pth')) == 1
    assert 'weights do not fit attention' in capsys.readouterr().err


def test_a_wrong_file_is_noticed(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(export.FORMATS, '.pt', (export.write_torchscript, lambda path: lambda x: torch.zeros(2, 10)))
    assert run(tmp_path / 'model.pt') == 1
    assert 'the exported model differs by' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('more', 'sentence'),
    [
        (['--pretrained'], 'weights do not fit attention'),
        (['--checkpoint', 'none.pth'], "checkpoint 'none.pth' does not exist"),
        (['colour=True'], "'colour' is not an option of the network"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, capsys, more, sentence):
    assert run(tmp_path / 'model.pt', *more) == 1
    error = capsys.readouterr().err
    assert error.startswith('error: ')
    assert sentence in error
    assert error.count('\n') == 1
    assert not (tmp_path / 'model.pt').exists()


def test_nothing_is_overwritten(tmp_path, capsys):
    (tmp_path / 'model.pt').write_text('precious')
    assert run(tmp_path / 'model.pt') == 1
    assert '--overwrite replaces it' in capsys.readouterr().err
    assert (tmp_path / 'model.pt').read_text() == 'precious'


@pytest.mark.parametrize(
    ('argv', 'sentence'),
    [
        (['attention56_cifar', 'model.tflite'], 'it must end in one of .onnx, .pt, .pt2, .xml'),
        (['attention56_cifar', 'model.onnx', '--int8', 'photos'], 'it needs a file that ends in .xml'),
        (['attention56_cifar', 'model.onnx', '--opset', '17'], '--opset 17 is not allowed'),
    ],
)
def test_bad_command_line(capsys, argv, sentence):
    with pytest.raises(SystemExit) as stop:
        export.main(argv)
    assert stop.value.code == 2
    assert sentence in capsys.readouterr().err
