"""Files of `ranet export` that another library computes, as models that say what their classes and images are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .. import files, openvino_graph
from ..runtimes import EXTRA, PACKAGES, Run
from ..weights.description import OF_TIMM, own_cfg
from ..weights.read import ABOUT, described

if TYPE_CHECKING:
    from openvino import Model


class Exported(nn.Module):
    """A file of `ranet export`, computed by its library.

    Args:
        path: The file, whose name ends as one of `READERS`.

    Attributes:
        description, pretrained_cfg, num_classes, in_chans: As those of a model of `weights.description.build`.

    Raises:
        FileNotFoundError: There is no such file.
        ModuleNotFoundError: Its library is not installed.
        ValueError: The file cannot be read, or says nothing of its model.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        path = Path(path).expanduser()
        runtime, reader = READERS[path.suffix]
        for package in PACKAGES[runtime][:1]:
            if find_spec(package) is None:
                raise ModuleNotFoundError(f'checkpoint {str(path)!r} needs {package}: pip install {EXTRA}')
        if not path.is_file():
            raise FileNotFoundError(f'checkpoint {str(path)!r} does not exist')
        try:
            self.run, said = reader(path)
        except Exception as error:  # of the libraries' own types
            reason = ' '.join(str(error).split()) or type(error).__name__
            raise ValueError(f'checkpoint {str(path)!r} cannot be read: {reason}') from error
        self.description = parsed(said)
        if not self.description:
            raise ValueError(f'checkpoint {str(path)!r} says nothing of its model, as files of `ranet export` do')
        self.pretrained_cfg = own_cfg(self.description)
        self.num_classes = self.pretrained_cfg.get('num_classes', 0)
        self.in_chans = (self.pretrained_cfg.get('input_size') or [3])[0]

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, classes); raises `ValueError` for images of another size than the file is for."""
        return self.run(images)


def about(model: nn.Module) -> str:
    """How images are shown to a model and what its classes are called, as JSON."""
    cfg = {k: v for k, v in model.pretrained_cfg.items() if k in (*OF_TIMM, 'label_names') and v is not None}
    said = getattr(model, 'description', {})
    return json.dumps(dict(said, pretrained_cfg=cfg | dict(num_classes=model.num_classes)))


def parsed(said: str) -> Mapping[str, Any]:
    """What `about` gave; empty where it is something else."""
    try:
        found = json.loads(said)
    except ValueError:
        return {}
    if not isinstance(found, dict) or not found:
        return {}
    whole = dict(architecture=None, model_args={}) | found  # which one of weights that ship does not name
    return whole if described({ABOUT: whole}) else {}


def write_graph(graph: Model, path: Path, said: str) -> None:
    """A graph of OpenVINO with its description: `path`, and its weights beside it in a file that ends in .bin."""
    openvino = openvino_graph.imported('openvino')

    graph.set_rt_info(said, [ABOUT])
    with files.whole(path) as draft, files.whole(path.with_suffix('.bin')):  # whose draft OpenVINO finds by its name
        openvino.save_model(graph, draft, compress_to_fp16=False)


def read_graph(path: Path) -> tuple[Run, str]:
    openvino = openvino_graph.imported('openvino')

    graph = openvino.Core().read_model(path)
    said = graph.get_rt_info([ABOUT]).astype(str) if graph.has_rt_info([ABOUT]) else ''
    return openvino_graph.runner(graph), said


def describe_onnx(draft: Path, said: str) -> None:
    import onnx

    written = onnx.load(draft)
    onnx.helper.set_model_props(written, {ABOUT: said})
    onnx.save(written, draft)


def read_onnx(path: Path) -> tuple[Run, str]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
    shape = session.get_inputs()[0].shape[1:]

    def run(images: Tensor) -> Tensor:
        sides = images.shape[1:]
        openvino_graph.check_shape(
            images, tuple(a if isinstance(a, int) else b for a, b in zip(shape, sides, strict=True))
        )
        return torch.from_numpy(session.run(None, {'images': images.numpy()})[0])

    return run, session.get_modelmeta().custom_metadata_map.get(ABOUT, '')


READERS = {'.onnx': ('onnxruntime', read_onnx), '.xml': ('openvino', read_graph)}
