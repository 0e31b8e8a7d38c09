"""Forms that a model runs in: memory order, precision, compiled, folded, or by another library."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from .compiling import compiled_units
from .deployment import deploy

Run = Callable[[Tensor], Tensor]
DTYPES = ('bfloat16', 'float16')
PACKAGES = dict(onnxruntime='onnxruntime', openvino='openvino', tensorrt='torch_tensorrt')
TRAINABLE = ('eager', 'channels_last', *DTYPES, 'compile')
WORDS = (*TRAINABLE, 'deploy', *PACKAGES)


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
        if word in PACKAGES and find_spec(PACKAGES[word]) is None:
            raise ModuleNotFoundError(f'form {form!r} needs {PACKAGES[word]}, which is not installed')
    return words


def in_form(model: nn.Module, form: str, images: Tensor, train: bool = False) -> Run:
    """The model as a function of images, (N, C, H, W) -> (N, classes), to be called without gradients but in training.

    Args:
        model: It is changed: take a copy to keep it.
        form: Words joined by +; see `WORDS`.
        images: An example of what it will be called with, on the model's device.
        train: Whether gradients are to flow.
    """
    words = words_of(form, train)
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


def for_each_size(model: nn.Module, form: str) -> Run:
    """`in_form` for images of any size: other libraries get the model anew for each, as they fix the size."""
    words_of(form)
    runs: dict[tuple[int, ...], Run] = {}

    def call(x: Tensor) -> Tensor:
        size = tuple(x.shape[1:]) if {*form.split('+')} & {*LIBRARIES} else ()
        if size not in runs:
            runs[size] = in_form(model, form, x)
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
    import openvino

    sides = images.shape[1:]
    with torch.no_grad():
        graph = openvino.convert_model(model, example_input=torch.zeros(2, *sides), input=[-1, *sides])
    options = dict(
        INFERENCE_NUM_THREADS=torch.get_num_threads(), INFERENCE_PRECISION_HINT='f32', PERFORMANCE_HINT='LATENCY'
    )
    compiled = openvino.compile_model(graph, 'CPU', options)
    return lambda x: torch.from_numpy(compiled(x.numpy())[0])


def by_tensorrt(model: nn.Module, images: Tensor) -> Run:
    """TensorRT, by PyTorch's compiler for it."""
    import torch_tensorrt

    return torch_tensorrt.compile(model, ir='dynamo', inputs=[images])


LIBRARIES: dict[str, Callable[[nn.Module, Tensor], Run]] = dict(
    onnxruntime=by_onnxruntime, openvino=by_openvino, tensorrt=by_tensorrt
)
