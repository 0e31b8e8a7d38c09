"""Models as graphs of OpenVINO: converted, with 8-bit integers in place of float32, and run on the CPU."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .machine import own_signal_stack

if TYPE_CHECKING:
    from openvino import Model

CALIBRATION = 512  # images that the ranges of 8-bit values are taken from


def imported(name: str) -> ModuleType:
    """OpenVINO or NNCF without their telemetry, which forks this process, threads and all, to report elsewhere."""
    sys.modules.setdefault('openvino_telemetry', None)  # as if it were not installed, which both allow
    return import_module(name)


def converted(model: nn.Module, images: Tensor) -> Model:
    """A model in evaluation mode as a graph for any number of images of this size.

    It is traced and frozen here: OpenVINO would trace it twice, to compare, and take more than twice as long.
    """
    openvino = imported('openvino')

    sides = images.shape[1:]
    with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # about sizes that the trace takes for fixed, which they are
        traced = torch.jit.trace(model, torch.zeros(2, *sides), check_trace=False)
        return openvino.convert_model(torch.jit.freeze(traced), input=[-1, *sides])


@own_signal_stack()
def quantized(graph: Model, images: Tensor) -> Model:
    """The graph with convolutions and matrix products in 8-bit integers, by NNCF's post-training quantization.

    The same graph and images give the same result; the graph itself stays.

    Args:
        graph: In float32.
        images: (N, C, H, W) as the network is shown them, from which the ranges of values are taken one by one.
    """
    nncf = imported('nncf')

    nncf.set_log_level(logging.ERROR)
    # From the least value to the greatest: of NNCF's ways the one whose logits stay closest to those of float32 on
    # training images besides those it calibrates with.
    ranges = imported('nncf.quantization.range_estimator').RangeEstimatorParametersSet.MINMAX
    parameters = nncf.AdvancedQuantizationParameters(activations_range_estimator_params=ranges)
    data = nncf.Dataset([image[None] for image in images.cpu().numpy()])
    with contextlib.redirect_stdout(io.StringIO()):  # bars of its progress
        return nncf.quantize(graph.clone(), data, subset_size=len(images), advanced_parameters=parameters)


@own_signal_stack()
def runner(graph: Model) -> Callable[[Tensor], Tensor]:
    """The graph as a function, (N, C, H, W) -> logits; with as many threads as PyTorch has, and nothing in 16 bits.

    The function raises `ValueError` for images of another size.
    """
    openvino = imported('openvino')

    options = dict(
        INFERENCE_NUM_THREADS=torch.get_num_threads(), INFERENCE_PRECISION_HINT='f32', PERFORMANCE_HINT='LATENCY'
    )
    compiled = openvino.compile_model(graph, 'CPU', options)
    shape = tuple(dim.get_length() for dim in [*graph.input(0).partial_shape][1:])

    def run(images: Tensor) -> Tensor:
        check_shape(images, shape)
        return torch.from_numpy(compiled(images.numpy())[0])

    return run


def check_shape(images: Tensor, shape: tuple[int, ...]) -> None:
    """Raises `ValueError` where images (N, C, H, W) are not of the shape (C, H, W) that a graph is made for."""
    if tuple(images.shape[1:]) != shape:
        raise ValueError(
            f'input of shape {tuple(images.shape[1:])} is not allowed: the graph was made for images of {shape} '
            '(channels, height, width)'
        )
