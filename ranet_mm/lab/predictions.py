"""Predictions of a classifier: written by `test --dump`, read without running code from the file, and measured."""

from __future__ import annotations

import io
import pickle
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .. import files
from ..weights import claims
from ..weights.fit import listed

if TYPE_CHECKING:
    from mmengine.evaluator import DumpResults

ENDINGS = '.pkl', '.pickle', '.npz'
BINS = 15
MOST = 10  # absent classes that are named


@dataclass
class Predictions:
    """One prediction for each of N images."""

    scores: Tensor  # probabilities, (N, classes)
    labels: Tensor  # what the images show, (N,)
    images: Sequence[str] = ()  # their paths, or empty
    classes: Sequence[str] = ()  # names of the classes, or empty

    def names(self) -> list[str]:
        """A name for each score: its class's, with its number where two classes share it, or else the number."""
        names, twice = list(map(str, self.classes)), Counter(map(str, self.classes))
        told = [f'{name} ({i})' if twice[name] > 1 else name for i, name in enumerate(names)]
        return [told[i] if i < len(told) else str(i) for i in range(self.scores.shape[1])]

    def absent(self) -> list[str]:
        """The names of the classes that no image shows."""
        shown = set(self.labels.tolist())
        return [name for number, name in enumerate(self.names()) if number not in shown]


class SafeUnpickler(pickle._Unpickler):
    """Reads tensors, arrays of bytes and plain data, as MMEngine pickles them, and nothing that could run code.

    It is Python's reader, not the one in C, which reserves as much memory as a number in the file says.
    """

    def find_class(self, module: str, name: str) -> Any:
        allowed = {
            ('collections', 'OrderedDict'): OrderedDict,
            ('_codecs', 'encode'): _encode,
            ('torch._utils', '_rebuild_tensor_v2'): torch._utils._rebuild_tensor_v2,
            ('torch.storage', '_load_from_bytes'): _load_storage,
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f'it holds {module}.{name}, which is not safe to load')
        return allowed[module, name]


def _encode(text: str, encoding: str) -> bytes:
    """Bytes in a pickle of protocol 2; any other codec is left alone."""
    if encoding != 'latin1':
        raise pickle.UnpicklingError(f'it holds bytes in the encoding {encoding!r}')
    return text.encode('latin1')


def _load_storage(data: bytes) -> Any:
    """Stands in for PyTorch's own, which would run code that the bytes hold."""
    return torch.load(io.BytesIO(data), map_location='cpu', weights_only=True)


def read(path: str) -> Predictions:
    """Predictions of a classifier.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It cannot be read, or holds something else.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'predictions {path!r} do not exist')
    if not path.endswith(ENDINGS):
        raise ValueError(f'predictions {path!r} are not allowed: the name must end in {", ".join(ENDINGS)}')
    try:
        claims.check_parts(Path(path), packed=True)
        found = read_npz(path) if path.endswith('.npz') else from_samples(read_samples(path))
    except Exception as error:  # a damaged file may ask for anything
        raise ValueError(f'predictions {path!r} cannot be read: {error}') from error
    return checked(found, f'predictions {path!r}')


def checked(found: Predictions, name: str = 'predictions') -> Predictions:
    """The same, if each label has a score; raises `ValueError` otherwise."""
    wrong = found.labels[(found.labels < 0) | (found.labels >= found.scores.shape[1])]
    if len(wrong):
        raise ValueError(f'{name} have {found.scores.shape[1]} scores an image, and label {wrong[0]} too')
    return found


def read_samples(path: str) -> list[dict[str, Any]]:
    """What MMEngine dumped for each image."""
    with Path(path).open('rb') as file:
        samples = SafeUnpickler(file).load()
    claims.check_content(samples, Path(path).stat().st_size)
    if not isinstance(samples, list) or not samples or not all(isinstance(s, dict) for s in samples):
        raise ValueError('a list of predictions is expected')
    return samples


def from_samples(samples: Sequence[Mapping[str, Any]]) -> Predictions:
    """The scores of dumped samples of a classifier."""
    missing = [key for key in ('pred_score', 'gt_label') if key not in samples[0]]
    if missing:
        raise ValueError(f'they have no {" and no ".join(missing)}, so they are not of a classifier')
    scores = torch.stack([sample['pred_score'] for sample in samples]).float()
    labels = torch.cat([torch.as_tensor(sample['gt_label']).flatten() for sample in samples])
    if len(labels) != len(scores):
        raise ValueError('their images have several labels each')
    images = [str(sample['img_path']) for sample in samples if sample.get('img_path')]
    return Predictions(scores, labels, images)


def read_npz(path: str) -> Predictions:
    with np.load(path, allow_pickle=False) as arrays:
        scores, labels = torch.from_numpy(arrays['scores']), torch.from_numpy(arrays['labels'])
        return Predictions(scores, labels, arrays['images'].tolist(), arrays['classes'].tolist())


def write_npz(path: str, found: Predictions) -> None:
    """Write arrays that NumPy reads without pickle: `scores`, `labels`, `images` and `classes`."""
    with files.whole(path, files.check_zip) as draft:
        np.savez_compressed(
            draft, scores=found.scores.numpy(), labels=found.labels.numpy(), images=np.array(found.images, str),
            classes=np.array(found.classes, str),
        )  # fmt: skip


def dump(path: str) -> DumpResults:
    """MMEngine's metric that writes the predictions at the end of an evaluation, arrays where the file is an `.npz`.

    It raises `ValueError` where arrays are asked for and the model is no classifier.
    """
    from mmengine.evaluator import BaseMetric, DumpResults

    class DumpArrays(DumpResults):
        def __init__(self) -> None:
            BaseMetric.__init__(self)
            self.out_file_path = path

        def compute_metrics(self, results: list[dict]) -> dict[str, float]:
            found = from_samples(results)
            found.classes = (self.dataset_meta or {}).get('classes', ())
            write_npz(path, found)
            return {}

    return DumpArrays() if path.endswith('.npz') else DumpResults(path)


def told(absent: Sequence[str]) -> str:
    """That classes are absent, as `cat, dog are absent`, with the first names of many."""
    return f'{listed(absent, MOST)} {"is" if len(absent) == 1 else "are"} absent'


def calibration_error(confidence: Tensor, right: Tensor) -> Tensor:
    """Mean distance of confidence and accuracy over 15 bins of equal width (arXiv:1706.04599, Eq. 3)."""
    bins = (confidence * BINS).long().clamp(max=BINS - 1)
    gaps = [(confidence[bins == b].double() - right[bins == b]).sum().abs() for b in bins.unique()]
    return torch.stack(gaps).sum() / len(right)
