"""Forms that a model runs in give its logits, and benchmarks measure what they say."""

import ctypes
import gc
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from ranet_mm import machine, openvino_graph, runtimes
from ranet_mm.deployment import Bound, deploy
from ranet_mm.lab import speed
from ranet_mm.runtimes import PACKAGES, TRAINABLE, for_each_size, in_form, words_of

TOLERANCE = dict(bfloat16=0.1, float16=0.02, int8=0.1)


def network() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model('attention56_cifar', width=0.25, modules=(1, 1, 1)).eval()


@pytest.mark.slow('compilers of other libraries')
@pytest.mark.parametrize(
    'form',
    ['eager', 'channels_last', 'channels_last+bfloat16', 'deploy', 'deploy+bfloat16', *PACKAGES, 'deploy+onnxruntime'],
)
def test_logits(form: str) -> None:
    try:
        words_of(form)
    except ModuleNotFoundError as error:
        pytest.skip(str(error))
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        wanted = network()(images)
        found = in_form(network(), form, images)(images)
    atol = TOLERANCE.get(form.rpartition('+')[2], 1e-4) * wanted.abs().max().item()
    torch.testing.assert_close(found.float(), wanted, rtol=0, atol=atol)


def test_the_deploy_form_stays_in_the_format_it_is_computed_in() -> None:
    """Bounds of another precision would make every map between the convolutions twice as large."""
    model, images = deploy(network()), torch.randn(2, 3, 32, 32)
    seen = set()
    for part in model.modules():
        if isinstance(part, Bound):
            part.register_forward_hook(lambda part, inputs, out: seen.add((inputs[0].dtype, out.dtype)))
    with torch.inference_mode(), torch.autocast('cpu', torch.bfloat16):
        model(images)
    assert seen == {(torch.bfloat16, torch.bfloat16)}


@pytest.mark.slow('compilers of other libraries')
@pytest.mark.parametrize('form', ['deploy', 'onnxruntime'])
def test_images_of_two_sizes(form: str) -> None:
    pytest.importorskip('onnxruntime')
    wanted, run = network(), for_each_size(network(), form)
    with torch.inference_mode():
        for images in (torch.randn(2, 3, 32, 32), torch.randn(1, 3, 40, 36), torch.randn(3, 3, 32, 32)):
            torch.testing.assert_close(run(images), wanted(images), rtol=1e-4, atol=1e-4)


@pytest.mark.slow('compilers of other libraries')
def test_int8_computes_in_integers_and_the_same_each_time() -> None:
    for name in ('openvino', 'nncf'):
        pytest.importorskip(name, reason=f"{name} is not installed: pip install 'ranet_mm[runtimes]'")
    images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    graph = openvino_graph.converted(network(), images)
    first, second = (openvino_graph.quantized(graph, images) for _ in range(2))
    kinds = [op.get_type_name() for op in first.get_ops()]
    assert kinds.count('FakeQuantize') >= kinds.count('Convolution') > 0
    assert 'FakeQuantize' not in [op.get_type_name() for op in graph.get_ops()]
    run = openvino_graph.runner(first)
    assert torch.equal(run(images), openvino_graph.runner(second)(images))
    with pytest.raises(ValueError, match=r'input of shape \(3, 40, 36\) is not allowed'):
        run(torch.randn(1, 3, 40, 36))
    with pytest.raises(ValueError, match="form 'int8' needs images to calibrate with"):
        for_each_size(network(), 'int8')


@pytest.mark.parametrize(
    ('form', 'package'), [('onnxruntime', 'onnxscript'), ('openvino', 'openvino'), ('int8', 'nncf')]
)
def test_what_is_not_installed_is_told_with_its_extra(form: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, 'find_spec', lambda name: None if name == package else name)
    with pytest.raises(ModuleNotFoundError, match=rf"needs {package}, .*: pip install 'ranet_mm\[runtimes\]'$"):
        words_of(form)


def test_forms_that_are_not_allowed() -> None:
    with pytest.raises(ValueError, match=r"form 'fast' is not allowed: its words must be of eager"):
        words_of('fast')
    with pytest.raises(ValueError, match=r"form 'deploy' is not allowed: .* " + TRAINABLE[-1]):
        words_of('deploy', train=True)


@pytest.mark.parametrize('train', [False, True])
def test_the_bound_has_every_convolution_and_nothing_else(train: bool) -> None:
    model, images = network(), torch.randn(2, 3, 32, 32)
    count = sum(isinstance(m, nn.Conv2d) for m in model.modules())
    weights = sum(m.weight.numel() for m in model.modules() if isinstance(m, nn.Conv2d))
    bound = speed.convolutions('a', model, 'channels_last', images, train)
    assert bound.params == weights
    with torch.profiler.profile() as profile:
        bound.step()
    calls = {event.key: event.count for event in profile.key_averages()}
    assert calls['aten::conv2d'] == count
    assert calls.get('aten::convolution_backward', 0) == count * train
    assert not {'aten::batch_norm', 'aten::relu_', 'aten::sigmoid'} & {*calls}


def test_a_model_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / 'port.py'
    file.write_text('from torch import nn\ndef make():\n    return nn.Linear(2, 3)\nwrong = dict\n')
    assert speed.called(f'{file}:make').out_features == 3
    other = tmp_path / 'other/port.py'  # of the same name
    other.parent.mkdir()
    other.write_text(file.read_text().replace('3', '4'))
    assert speed.called(f'{other}:make').out_features == 4
    with pytest.raises(ValueError, match=r"absent.py:make' is not known: .*No such file"):
        speed.called(f'{tmp_path}/absent.py:make')
    with pytest.raises(ValueError, match=r":none' is not known: .*none"):
        speed.called(f'{file}:none')
    with pytest.raises(ValueError, match='it gives dict, and a module is expected'):
        speed.called(f'{file}:wrong')


@pytest.mark.skipif(sys.platform != 'linux', reason='of Linux')
def test_openvino_leaves_the_stack_for_signals_as_it_was() -> None:
    """It puts its own there; one whose memory is gone ends the process at the next signal."""
    if find_spec('openvino') is None:
        pytest.skip('openvino is not installed')

    def stack() -> tuple[int, int]:
        found = machine.SignalStack()
        assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(found)) == 0
        return found.pointer, found.size

    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten()).eval()
    graph, before = openvino_graph.converted(model, torch.zeros(1, 3, 8, 8)), stack()
    held = [openvino_graph.runner(graph) for _ in range(3)]
    assert stack() == before
    while held:
        held.pop(0)
        gc.collect()
        assert stack() == before


def test_what_the_environment_says_of_memory_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('MALLOC_ARENA_MAX', '2')
    assert not machine.keep_memory()
