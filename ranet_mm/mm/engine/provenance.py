"""Where a run comes from: its command, code, libraries, machine and data."""

from __future__ import annotations

import hashlib
import os
import platform
import resource
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch

from ..data.identity import common_folder, data_name
from .workdir import shown

PACKAGES = (
    'torch', 'torchvision', 'timm', 'numpy', 'mmengine', 'mmcv', 'mmpretrain', 'mmdet', 'mmsegmentation',
    'onedl-mmengine', 'onedl-mmcv', 'onedl-mmpretrain', 'onedl-mmdetection', 'onedl-mmsegmentation',
)  # fmt: skip
CONTENT_LIMIT = 2**30  # bytes of files that are read for a digest
_DESCRIBED: WeakKeyDictionary[Any, dict[str, dict]] = WeakKeyDictionary()


def typed_command() -> str:
    """The command line of this process, or of the script that started it with others.

    The console command goes by its name, wherever pip has put it.
    """
    program, *arguments = sys.argv
    script, processes = Path(shown(program)), os.environ.get('LOCAL_WORLD_SIZE')
    if script.stem == 'ranet':
        return shlex.join(['ranet', *arguments])
    if script.name in ('train.py', 'test.py') and processes and arguments[-2:] == ['--launcher', 'pytorch']:
        config, *options = arguments[:-2]
        if not config.startswith('-'):  # the order in which the starting script hands them on
            return shlex.join([str(script.with_name(f'dist_{script.stem}.sh')), config, processes, *options])
    return shlex.join(['python', str(script), *arguments])


def described(dataset: Any, role: str) -> dict[str, Any]:
    """Name (see `data_name`) and digest of a data set, which is read once."""
    known = _DESCRIBED.setdefault(dataset, {})
    if role not in known:
        known[role] = dict(name=data_name(dataset, role), **data_digest(dataset))
    return known[role]


def data_digest(dataset: Any) -> dict[str, Any]:
    """Number of samples, and SHA-256 over their labels and their names and content, in order.

    Files above 1 GiB in all are told by name and size alone; `of` says which.
    """
    samples = [dataset.get_data_info(i) for i in range(len(dataset))] if hasattr(dataset, 'get_data_info') else []
    paths = [s['img_path'] for s in samples if 'img_path' in s]
    root = common_folder(paths)
    with_content = sum(map(os.path.getsize, paths)) <= CONTENT_LIMIT
    digest = hashlib.sha256()
    for sample in samples:
        for part in _identity(sample, root, with_content):
            digest.update(part)
    of = 'labels and pixels' if not paths else 'labels, names and ' + ('content' if with_content else 'sizes')
    return dict(samples=len(dataset), sha256=digest.hexdigest(), of=of)


def _identity(sample: Mapping, root: str, with_content: bool) -> Iterator[bytes]:
    yield repr(sample.get('gt_label')).encode()
    if 'instances' in sample:  # boxes and masks of single objects
        yield repr(sample['instances']).encode()
    if sample.get('seg_map_path'):
        yield Path(sample['seg_map_path']).read_bytes()
    path = sample.get('img_path')
    if path is None:
        yield np.ascontiguousarray(sample.get('img', ())).tobytes()
        return
    yield os.path.relpath(path, root).encode()
    yield Path(path).read_bytes() if with_content else str(os.path.getsize(path)).encode()


def commit() -> str | None:
    """The checkout's commit, with `-dirty` where it has uncommitted changes; None outside a checkout.

    A copy without its history is told by the variable `RANET_MM_COMMIT`.
    """
    here = Path(__file__)
    if _git('ls-files', '--error-unmatch', here.name) is None:  # installed below somebody else's checkout
        return os.environ.get('RANET_MM_COMMIT')
    return _git('describe', '--always', '--abbrev=12', '--dirty', '--exclude=*')


def _git(*args: str) -> str | None:
    try:
        done = subprocess.run(['git', *args], cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # git is not installed
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that make the result."""
    found = {d.name.lower(): d.version for d in metadata.distributions()}
    found['torch'] = torch.__version__  # tells the build
    if torch.cuda.is_available():
        found.update(cuda=torch.version.cuda, cudnn=str(torch.backends.cudnn.version()))
    return dict(python=platform.python_version(), **{n: found[n] for n in (*PACKAGES, 'cuda', 'cudnn') if n in found})


def hardware() -> str:
    """The GPU's name, or the CPU's number of threads and instruction set."""
    if torch.cuda.is_available():
        return f'{torch.cuda.device_count()} x {torch.cuda.get_device_name()}'
    return f'CPU, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}'


def peak_memory() -> int:
    """MiB that this process held at most: of the GPU's memory, or of the machine's on a CPU."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() // 2**20
    unit = 1 if sys.platform == 'darwin' else 2**10  # bytes there, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit // 2**20
