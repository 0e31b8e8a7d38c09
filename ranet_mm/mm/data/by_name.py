"""Labels by the names of the classes: numbers mean nothing where a model and its data count in other orders."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS as ROOT_DATASETS

from ...registry import DATASETS
from ...weights import fit
from ...weights.description import class_names

TYPE = 'ranet_mm.by_name'
MOST = 8  # names in a sentence


@DATASETS.register_module()
def by_name(dataset: Mapping | Any, classes: Sequence[str]) -> Any:
    """A data set with the labels that its classes have in a list of names, which become its classes.

    Args:
        dataset: The data set, or its config; it is changed. Labels of one that does not name its classes are numbers
            of the names already.
        classes: The names in their order. The data set may lack some.

    Raises:
        ValueError: A class or a label of the data set is none of these, or its samples are not in its hands.
    """
    dataset = ROOT_DATASETS.build(dataset) if isinstance(dataset, Mapping) else dataset
    if hasattr(dataset, 'full_init'):
        dataset.full_init()
    own, classes = names(dataset), checked(classes, once=False)
    if own == classes:
        return dataset
    numbers = mapping(own, classes, dataset) if own else None
    if not isinstance(dataset, BaseDataset):
        raise ValueError(f'{place(dataset)} is not allowed: it cannot follow the classes {listed(classes)}')
    if not own and (most := highest_label(dataset)) >= len(classes):
        raise ValueError(f'label {most} of {place(dataset)} is not allowed: the classes are {listed(classes)}')
    if numbers:
        _relabel_all(dataset, numbers)
    dataset._metainfo['classes'] = classes
    return dataset


def _relabel_all(dataset: BaseDataset, numbers: Sequence[int]) -> None:
    samples = [dataset.get_data_info(i) for i in range(len(dataset))]
    for sample in samples:
        del sample['sample_idx']
    dataset.data_list = relabel(samples, numbers)
    if dataset.serialize_data:
        dataset.data_bytes, dataset.data_address = dataset._serialize_data()


def relabel(samples: list[dict], numbers: Sequence[int] | None) -> list[dict]:
    """Samples, changed, whose label i became `numbers[i]`, as did each of a list of labels."""
    for sample in samples if numbers else ():
        label = sample.get('gt_label')
        if isinstance(label, np.ndarray):
            sample['gt_label'] = np.asarray(numbers)[label]
        elif isinstance(label, Sequence):
            sample['gt_label'] = [numbers[one] for one in label]
        elif label is not None:
            sample['gt_label'] = numbers[label]
    return samples


def mapping(own: Sequence[str], classes: Sequence[str], dataset: Any) -> list[int] | None:
    """The number in `classes` of each of a data set's own, or None where it is the same.

    Raises:
        ValueError: A class of the data set is none of these, or its name is there twice.
    """
    places = {name: number for number, name in enumerate(classes)}
    unknown = [name for name in own if name not in places]
    if unknown:
        raise ValueError(
            f'class {unknown[0]!r} of {place(dataset)} is not known to the model, whose classes are {listed(classes)}'
        )
    numbers = [places[name] for name in own]
    if tuple(own) == tuple(classes[: len(own)]):
        return None
    if twice := [name for name in own if list(classes).count(name) > 1]:
        raise ValueError(
            f'class {twice[0]!r} of {place(dataset)} is not allowed: two classes of the model have the name'
        )
    return numbers


def names(dataset: Any) -> tuple[str, ...]:
    """The classes of a data set, or nothing where it does not say."""
    return class_names((getattr(dataset, 'metainfo', None) or {}).get('classes'))


def checked(classes: Iterable[Any], once: bool = True) -> tuple[str, ...]:
    """Names of classes as text: a command line makes numbers of some.

    Raises:
        ValueError: There is none, or with `once` one of them twice.
    """
    found = tuple(map(str, classes))
    twice = [name for number, name in enumerate(found) if name in found[:number]] if once else []
    if not found or twice:
        reason = f'{twice[0]!r} is there twice' if twice else 'names are expected'
        raise ValueError(f'metainfo.classes={list(found)} is not allowed: {reason}')
    return found


def listed(classes: Sequence[str], most: int = MOST) -> str:
    """Some names for a sentence."""
    return fit.listed(classes, most)


def place(dataset: Any) -> str:
    """A data set's kind, and where its images are."""
    root = getattr(dataset, 'data_root', '')
    return f'data set {type(dataset).__name__}' + (f' in {str(root)!r}' if root else '')


def parts(dataset: Any) -> Iterator[Any]:
    """The data sets inside wrappers that repeat or join them."""
    inside = getattr(dataset, 'datasets', None) or [d for d in [getattr(dataset, 'dataset', None)] if d is not None]
    for part in inside:
        yield from parts(part)
    if not inside:
        yield dataset


def labelled(dataset: Any) -> bool:
    """Whether images have labels, as far as the data set tells."""
    return all(getattr(part, 'with_label', True) for part in parts(dataset))


def highest_label(dataset: Any) -> int:
    """The greatest label, or -1 where there is none."""
    return max((int(label) for part in parts(dataset) for label in _labels(part)), default=-1)


def absent(dataset: Any) -> list[str]:
    """The classes that no image shows, where the data set tells its labels."""
    shown = {int(label) for part in parts(dataset) for label in _labels(part)}
    return [name for number, name in enumerate(names(dataset)) if number not in shown] if shown else []


def _labels(part: Any) -> Iterator[int]:
    for index in range(len(part)) if isinstance(part, BaseDataset) else ():
        label = part.get_data_info(index).get('gt_label')
        yield from (one for one in np.atleast_1d(label) if isinstance(one, Integral))


def wrapped(loader: Any, classes: Sequence[str]) -> Any:
    """The config of a loader whose data sets, inside all wrappers, are read by name; a built loader as it is."""
    if not classes or not isinstance(loader, Mapping) or not isinstance(loader.get('dataset'), Mapping):
        return loader
    found = copy.copy(loader)
    found['dataset'] = _wrapped(loader['dataset'], classes)
    return found


def _wrapped(dataset: Any, classes: Sequence[str]) -> Any:
    if not isinstance(dataset, Mapping) or dataset.get('type') == TYPE:
        return dataset
    found = copy.copy(dataset)
    if isinstance(dataset.get('dataset'), Mapping):
        found['dataset'] = _wrapped(dataset['dataset'], classes)
    elif isinstance(dataset.get('datasets'), Sequence):
        found['datasets'] = [_wrapped(part, classes) for part in dataset['datasets']]
    else:
        return dict(type=TYPE, dataset=found, classes=list(classes))
    return found
