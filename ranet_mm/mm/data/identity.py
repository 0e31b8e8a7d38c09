"""What the images of a data set are, told by their pixels and labels: not by the name of a config or a folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...images import read

# What `fingerprint` gives for a benchmark -> its name, the part of it, and the number of images. CIFAR-10's are of the
# images whose RGB pixels, (N, 32, 32, 3) in the archive's order, have these SHA-256:
#   train 47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a
#   test  f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04
KNOWN: dict[str, tuple[str, str, int]] = {
    '684be5c4233c633ec183dcd842ad2eac1e1a5bfa5340af8660609d54b533e408': ('CIFAR-10', 'train', 50_000),
    'f9cfae85b360acdb9dba728668e18513366c261da441e1d331b5962a08a67266': ('CIFAR-10', 'test', 10_000),
    '0793d90384dc2870098c66769de2a462377effdd19cb9c2b35c9d4fc956d7fce': ('CIFAR-10 (JPEG copy)', 'train', 50_000),
    'f7a62b1977fab54f753701a6552234eaef404ee49a353016f8a9b70dba6d5ec8': ('CIFAR-10 (JPEG copy)', 'test', 10_000),
    'e12d1c47fa7bc511fac2a6cdc94ca860deb12d107f81cb198bd28a117d5d875c': ('Digits (scikit-learn)', 'train', 1_437),
    '598800f03e8bde5d9b2d8a05fe99886d339ccf1cd88e02cbe1cb4a65cc5099f7': ('Digits (scikit-learn)', 'test', 360),
}
COUNTS = {count for *_, count in KNOWN.values()}
SIDE = 32  # of every known benchmark's images
ROLES = dict(train='training', test='test')


def data_name(dataset: Any, role: str) -> str:
    """A benchmark's name if the decoded pixels and the labels are the benchmark's, else the name of the folder.

    A held-out part of a benchmark's training images goes by the benchmark's name. A name with something behind it is
    not the benchmark: wrong labels, a part of the test images, or the training images in the place of the others.

    Args:
        dataset: A data set, or one that wraps another.
        role: What it is for: `train`, `val` or `test`.
    """
    if getattr(dataset, 'datasets', None):
        return ' + '.join(dict.fromkeys(data_name(part, role) for part in dataset.datasets))
    inner = list(unwrapped(dataset))
    name, part, count = origin(inner)
    if part is None:
        return name
    remarks = [f'{d.fraction:.0%} of the labels wrong' for d in inner if getattr(d, 'fraction', 0)]
    if part != (role if role in ROLES else 'train'):
        remarks.append(f'{ROLES[part]} images')
    elif role == 'test' and len(dataset) != count:
        remarks.append(f'{len(dataset):,} of {count:,} images')
    return f'{name} ({", ".join(remarks)})' if remarks else name


def unwrapped(dataset: Any) -> Iterator[Any]:
    """A data set and those inside it, from the outermost to the innermost."""
    while dataset is not None:
        yield dataset
        dataset = getattr(dataset, 'dataset', None)


def origin(datasets: Sequence[Any]) -> tuple[str, str | None, int]:
    """Name, part and number of images of the benchmark that the innermost data set reads; else its name alone."""
    base = datasets[-1]
    samples = whole(base)
    if len(samples) in COUNTS:
        decoded = [d.fingerprint for d in datasets if getattr(d, 'fingerprint', None)]
        known = KNOWN.get(decoded[0] if decoded else _remembered(samples))
        if known:
            return known
    if type(base).__name__ == 'CIFAR100' and samples:  # mmpretrain compares its MD5 sum with the published one
        return 'CIFAR-100', base.split, len(samples)
    return folder_name(base), None, len(samples)


def whole(dataset: Any) -> Sequence[Mapping[str, Any]]:
    """All samples that a data set reads, before it holds some out or takes a part; empty where it does not tell."""
    read = getattr(dataset, 'load_whole', getattr(dataset, 'load_data_list', None))
    return read() if read else ()


def folder_name(dataset: Any) -> str:
    """The folder above that of the training or test images, or the data set's class where it has no folder."""
    prefix = getattr(dataset, 'data_prefix', None) or {}
    place = next(iter(prefix.values()), '') if isinstance(prefix, Mapping) else prefix
    place = Path(place or getattr(dataset, 'data_root', None) or '').resolve()
    if not getattr(dataset, 'data_root', None):
        return type(dataset).__name__
    return place.parent.name if place.name.lower() in ('train', 'val', 'test') else place.name


def _remembered(samples: Sequence[Mapping[str, Any]]) -> str | None:
    """`fingerprint`, which reads the files of training and held-out images once."""
    if any('img' in sample for sample in samples):
        return fingerprint(samples)
    files = signature(samples)
    if files not in _FOUND:
        _FOUND[files] = fingerprint(samples)
    return _FOUND[files]


_FOUND: dict[str, str | None] = {}


def fingerprint(samples: Iterable[Mapping[str, Any]]) -> str | None:
    """SHA-256 over the SHA-256 of each image's RGB pixels and label, sorted: whatever the container and the order.

    None where an image has another side than `SIDE`, or no label.
    """
    parts = []
    for sample in samples:
        image = sample.get('img')
        if image is None:
            image = np.array(read(sample['img_path']))
        if image.shape[:2] != (SIDE, SIDE) or 'gt_label' not in sample:
            return None
        parts.append(hashlib.sha256(np.ascontiguousarray(image).tobytes() + b'%d' % sample['gt_label']).digest())
    return hashlib.sha256(b''.join(sorted(parts))).hexdigest()


def signature(samples: Sequence[Mapping[str, Any]]) -> str:
    """SHA-256 over labels, names, sizes and times of change of image files, which are not read."""
    paths = [sample['img_path'] for sample in samples]
    start = len(common_folder(paths))
    lines = [
        f'{sample.get("gt_label")} {path[start:]} {file.st_size} {file.st_mtime_ns}'
        for sample, path, file in zip(samples, paths, map(os.stat, paths), strict=True)
    ]
    return hashlib.sha256('\n'.join(lines).encode()).hexdigest()


def common_folder(paths: Collection[str]) -> str:
    """The deepest folder that all files are below: that of the first and of the last of them in order."""
    return os.path.commonpath((min(paths), max(paths))) if paths else ''
