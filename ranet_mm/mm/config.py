"""Configs: found, read, changed, and filled in with what depends on this machine."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import inspect
import io
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..hub import root_folder
from ..machine import cores
from .data import switches
from .data.switches import LOADERS
from .renamed import GIVEN_UP, RENAMED

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.runner import Runner

LIBRARIES = dict(mmdet='onedl-mmdetection', mmseg='onedl-mmsegmentation')
OPS = 'mmcv._ext'  # compiled; a release of mmcv without it is a plain Python wheel
# Names that a config may leave out, besides the arguments of MMEngine's runner.
OPTIONAL_FIELDS = (
    'compile', 'custom_imports', 'find_unused_parameters', 'minutes', 'model_wrapper_cfg', 'runner_type', 'strategy',
    'sync_bn', 'tta_model', 'tta_pipeline',
)  # fmt: skip


def load_config(args: argparse.Namespace) -> Config:
    """Read the config (see `read_config`) and fill in what depends on the options and on this machine."""
    from .engine import launch

    cfg = read_config(args.config, args.cfg_options)
    cfg.launcher = args.launcher
    if cfg.get('randomness', {}).get('deterministic'):
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')  # PyTorch refuses to compute without it
    if args.work_dir or not cfg.get('work_dir'):
        cfg.work_dir = args.work_dir or str(Path('work_dirs') / Path(args.config).stem)
    for name in LOADERS:
        if cfg.get(name):
            set_loader_defaults(cfg[name], not args.no_pin_memory)
            if cfg.get('default_scope', 'mmpretrain') == 'mmpretrain':  # mmdet and mmseg keep MMEngine's default
                cfg[name].setdefault('collate_fn', dict(type='default_collate'))
    launch.prepare(cfg)
    return cfg


def read_config(name: str, options: dict[str, Any] | None = None) -> Config:
    """Read a config by its path or name and change it.

    It may inherit `mmseg::...` and `mmdet::...` whatever names these libraries have as packages.

    Raises:
        FileNotFoundError: There is no such config file.
        KeyError: An option changes a field that does not exist.
        ModuleNotFoundError: A library is not installed, or mmcv has no compiled operators where mmdet needs them.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # mmpretrain greets with what it could not import
        cfg, more = read_file(name)
        if find_spec('mmpretrain'):
            import mmpretrain.datasets  # noqa: F401
    return changed(cfg, options or {}, more)


def read_file(name: str) -> tuple[Config, dict[str, Any]]:
    """A config as its file says, and the options that its name stands for where that is an old one.

    The library of its scope is at hand then.
    """
    from mmengine.config import Config
    from mmengine.config.utils import MODULE2PACKAGE
    from mmengine.utils import is_installed

    from .engine import console

    path, stem = find_config(name), Path(name).stem
    more = RENAMED[stem][1] if stem in RENAMED and path.stem != stem else {}
    for module, package in MODULE2PACKAGE.items():  # the maintained mmsegmentation is called onedl-mmsegmentation
        if not is_installed(package) and find_spec(module) is not None:
            MODULE2PACKAGE[module] = module
    console.hush_libraries()
    try:
        cfg = Config.fromfile(path)
    except ModuleNotFoundError as error:
        missing = {v: k for k, v in MODULE2PACKAGE.items()}.get(str(error).split(' ')[0])
        if missing not in LIBRARIES:
            raise
        raise ModuleNotFoundError(
            f'config file {str(path)!r} needs {missing}, which is not installed: pip install {LIBRARIES[missing]}'
        ) from error
    scope = cfg.get('default_scope')
    if scope == 'mmdet' and find_spec(OPS) is None:
        raise ModuleNotFoundError(
            f"config file {str(path)!r} needs mmcv's compiled operators, which are not installed: "
            'run tools/install_ops.sh'
        )
    if scope in LIBRARIES and find_spec(scope) is not None:
        import_module(f'{scope}.datasets')  # prints what it could not import; here the caller can hold it back
    return cfg, more


def changed(cfg: Config, options: Mapping[str, Any], more: Mapping[str, Any] | None = None) -> Config:
    """A config with options, and with what its switches say done (see `data.switches`).

    Args:
        cfg: A config as its file says; it is changed.
        options: Fields by dotted names, as the file has them.
        more: Options that the config's old name stood for; fields of `options` are then as these leave them.

    Raises:
        KeyError: An option changes a field that does not exist: MMEngine would add a misspelt one in silence.
    """
    known = {*cfg, *runner_fields()} if options else ()
    for option in options:
        if option.split('.')[0] not in known:
            raise KeyError(
                f'option {option!r} of --cfg-options is not known: the config has the fields {", ".join(sorted(cfg))}'
            )
    if more:
        cfg.merge_from_dict({**more, **{name: options[name] for name in switches.SWITCHES if name in options}})
        switches.apply(cfg)
    cfg.merge_from_dict(dict(options))
    if 'holdout' in options:
        switches.set_holdout(cfg)
    switches.apply(cfg)
    return cfg


def own_configs() -> dict[str, Path]:
    """The package's own configs by name, as in `ranet/att56_digits`; what only other configs read is left out."""
    folder = root_folder() / 'configs'
    names = {path.relative_to(folder).with_suffix('').as_posix(): path for path in sorted(folder.rglob('*.py'))}
    return {name: path for name, path in names.items() if '/_' not in f'/{name}'}


def find_config(name: str) -> Path:
    """A config file of this path, or else the package's own, where `configs/` and `.py` may be left out.

    An old name stands for a config of today and for options, of which a hint tells.

    Raises:
        FileNotFoundError: There is none.
    """
    for path in (Path(name), *([root_folder() / name] if name.startswith('configs/') else [])):
        if path.is_file():
            return path
    own, known = name.removeprefix('configs/').removesuffix('.py'), own_configs()
    if own in known:
        return known[own]
    folder, _, stem = own.rpartition('/')
    if folder == 'ranet' and stem in GIVEN_UP:
        raise FileNotFoundError(
            f'config {own!r} has been given up for {folder}/{GIVEN_UP[stem]}: '
            'its row in docs/results.md names the commit that has it'
        )
    if folder == 'ranet' and stem in RENAMED:
        new, options = f'ranet/{RENAMED[stem][0]}', RENAMED[stem][1]
        if int(os.environ.get('RANK', 0)) == 0:
            print(f'hint: config {own!r} is {new!r} with --cfg-options {shown(options)} now', file=sys.stderr)
        return known[new]
    near = difflib.get_close_matches(own, known)
    hint = f', its nearest are {", ".join(near)}' if near else ': `ranet configs` lists them'
    raise FileNotFoundError(f'config file {name!r} does not exist, nor has the package one of that name{hint}')


def shown(options: Mapping[str, Any]) -> str:
    """Options as a command line has them."""
    return ' '.join(f'{name}={value}' for name, value in options.items())


def runner_fields() -> set[str]:
    """What a runner reads of a config; other names at its top are for the config itself."""
    from mmengine.runner import Runner

    return {*inspect.signature(Runner).parameters, *OPTIONAL_FIELDS}


def set_loader_defaults(loader: dict, pin_memory: bool) -> None:
    """mmpretrain's defaults, where the config is silent; no more workers than cores, pinning for a GPU alone."""
    import torch

    loader['num_workers'] = min(loader.get('num_workers', 0), cores())
    loader['persistent_workers'] = loader.get('persistent_workers', True) and loader['num_workers'] > 0
    loader['pin_memory'] = loader.get('pin_memory', True) and pin_memory and torch.cuda.is_available()


def build_runner(cfg: Config) -> Runner:
    """The runner that the config names, or else the one that keeps the console short."""
    from mmengine.registry import RUNNERS

    from .engine.runner import Runner

    format_once()
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)


def format_once() -> None:
    """Have MMEngine format a config once, not each time that it is logged or saved: seconds of every run."""
    import mmengine.config.config
    from yapf.yapflib import yapf_api

    original, found = yapf_api.FormatCode, {}
    if hasattr(original, 'original'):
        return

    def format_code(text: str, *args: Any, **options: Any) -> tuple[str, bool]:
        key = text, repr((args, options))
        if key not in found:
            found.clear()
            found[key] = original(text, *args, **options)
        return found[key]

    format_code.original = original
    for module in (yapf_api, mmengine.config.config):  # releases differ in where they look it up
        if hasattr(module, 'FormatCode'):
            module.FormatCode = format_code
