"""Forms that a model runs in: memory order, precision, compiled, folded, or by another library."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from . import openvino_graph
from .compiling import compiled_units
from .deployment import deploy, has_deploy_form
from .recompute import LEVELS

Run = Callable[[Tensor], Tensor]
DTYPES = ('bfloat16', 'float16')
PACKAGES = dict(
    onnxruntime=('onnxruntime', 'onnxscript'),
    openvino=('openvino',),
    int8=('openvino', 'nncf'),
    tensorrt=('torch_tensorrt',),
)
ON_CPU = ('onnxruntime', 'openvino', 'int8')  # whatever else there is
EXTRA = "'ranet_mm[runtimes]'"  # which has them all but TensorRT
RECOMPUTING = {f'recompute_{level}': level for level in LEVELS[1:]}
TRAINABLE = ('eager', 'channels_last', *DTYPES, 'compile', *RECOMPUTING)
WORDS = (*TRAINABLE, 'deploy', *PACKAGES)
RUNTIMES = ('deploy', 'eager', 'compile', *PACKAGES)  # forms that a command line offers by `--runtime`


def words_of(form: str, train: bool = False) -> tuple[str, ...]:
    """The words of a form, as in `channels_last+bfloat16`.

    Raises:
        ValueError: A word is not known, or names what cannot be trained.
        ModuleNotFoundError: A library is not installed.
    """
    words, allowed = tuple(form.split('+')), TRAINABLE if train else WORDS
    for word in words:
        if word not in allowed:
            raise ValueError(f'form {form!r} is not allowed: its words must be of {", ".join(allowed)}, joined by +')
        for package in missing(word):
            source = package if word == 'tensorrt' else EXTRA
            raise ModuleNotFoundError(f'form {form!r} needs {package}, which is not installed: pip install {source}')
    return words


def missing(word: str) -> list[str]:
    """The packages that a word of a form needs and that are not installed."""
    return [package for package in PACKAGES.get(word, ()) if find_spec(package) is None]


def fits(model: nn.Module, form: str) -> bool:
    """Whether a model has the parts that a form's words are about."""
    words = {*form.split('+')}
    return ('deploy' not in words or has_deploy_form(model)) and (not words & {*RECOMPUTING} or bool(networks(model)))


def networks(model: nn.Module) -> list[nn.Module]:
    """The parts of a model whose activations can be computed again."""
    return [part for part in model.modules() if hasattr(part, 'set_recompute')]


def in_form(model: nn.Module, form: str, images: Tensor, train: bool = False) -> Run:
    """The model as a function of images, (N, C, H, W) -> (N, classes), to be called without gradients but in training.

    Args:
        model: It is changed: take a copy to keep it.
        form: Words joined by +; see `WORDS`.
        images: An example of what it will be called with, on the model's device. `int8` takes the ranges of its values
            from these: training images for the right ones, while speed is that of any.
        train: Whether gradients are to flow.

    Raises:
        ValueError: A word is not known or not allowed, or the images are not where the form computes.
        ModuleNotFoundError: A library is not installed.
    """
    words = words_of(form, train)
    if {*words} & {*ON_CPU} and images.device.type != 'cpu':
        raise ValueError(f'form {form!r} is not allowed on {images.device}: it computes on the CPU')
    run: Run = model
    dtype = next((getattr(torch, word) for word in words if word in DTYPES), None)
    converted = dtype is not None and 'deploy' in words and not {*LIBRARIES} & {*words}
    if 'deploy' in words:
        deploy(model)
    if converted:  # once, where autocast would convert the weights in every call
        model.to(dtype)
    if 'channels_last' in words:
        model.to(memory_format=torch.channels_last)
    for word in words:
        for network in networks(model) if word in RECOMPUTING else ():
            network.set_recompute(RECOMPUTING[word])
        if word in LIBRARIES:
            run = LIBRARIES[word](model, images)
    if 'compile' in words:
        run = model if compiled_units(model, {}) else torch.compile(model)
    order = torch.channels_last if {'channels_last', 'deploy'} & {*words} else torch.contiguous_format
    device = images.device.type

    def call(x: Tensor) -> Tensor:
        x = x.contiguous(memory_format=order)
        if converted:
            return run(x.to(dtype))
        with torch.autocast(device, dtype, enabled=dtype is not None):
            return run(x)

    return call


def for_each_size(model: nn.Module, form: str, calibration: Tensor | None = None) -> Run:
    """`in_form` for images of any size: other libraries get the model anew for each, as they fix the size.

    Args:
        model: It is changed.
        form: See `in_form`.
        calibration: Training images as the model is shown them, (N, C, H, W), which `int8` needs; others are not
            allowed to be of another size then.

    Raises:
        ValueError: `int8` has none.
    """
    words = {*words_of(form)}
    if 'int8' in words and calibration is None:
        raise ValueError(f'form {form!r} needs images to calibrate with')
    runs: dict[tuple[int, ...], Run] = {}

    def call(x: Tensor) -> Tensor:
        example = calibration if 'int8' in words else x
        size = tuple(example.shape[1:]) if words & {*LIBRARIES} else ()
        if size not in runs:
            runs[size] = in_form(model, form, example)
        return runs[size](x)

    return call


def by_onnxruntime(model: nn.Module, images: Tensor) -> Run:
    """ONNX Runtime on the CPU, with as many threads as PyTorch has."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'model.onnx')
        example = images[:1].repeat(2, 1, 1, 1).contiguous()  # a batch of one would be taken for fixed
        torch.onnx.export(
            model, (example,), str(path), input_names=['images'], dynamic_shapes=({0: 'batch'},), dynamo=True,
            external_data=False, verbose=False,
        )  # fmt: skip
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
    return lambda x: torch.from_numpy(session.run(None, {'images': x.numpy()})[0])


def by_openvino(model: nn.Module, images: Tensor) -> Run:
    """OpenVINO on the CPU, in float32, with as many threads as PyTorch has."""
    return openvino_graph.runner(openvino_graph.converted(model, images))


def by_int8(model: nn.Module, images: Tensor) -> Run:
    """OpenVINO on the CPU, in 8-bit integers whose ranges are those of the images."""
    graph = openvino_graph.converted(model, images)
    return openvino_graph.runner(openvino_graph.quantized(graph, images))


def by_tensorrt(model: nn.Module, images: Tensor) -> Run:
    """TensorRT, by PyTorch's compiler for it."""
    import torch_tensorrt

    return torch_tensorrt.compile(model, ir='dynamo', inputs=[images])


LIBRARIES: dict[str, Callable[[nn.Module, Tensor], Run]] = dict(
    onnxruntime=by_onnxruntime, openvino=by_openvino, int8=by_int8, tensorrt=by_tensorrt
)
