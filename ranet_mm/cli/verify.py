"""Check a run's files, data, versions and metrics against its record."""

from __future__ import annotations

import json
import math
import shlex
from argparse import ArgumentError, Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..files import intact
from ..lab import records
from ..mm import config
from .program import command, option, parse_options, table

Check = tuple[str, str, str]  # what, how it is, and what is said of it
RIGHT, WRONG, LEFT_OUT = 'right', 'DIFFERS', 'not checked'
FIELDS = 'data', 'iteration', 'iterations'  # besides those of every record
DIGITS = 1e-5  # relative: a record has six


@command(
    option('record', type=Path, help='record.json of a run'),
    option('--work-dir', type=Path, help="where the run's checkpoints are (the record's folder by default)"),
    option('--config', help="the run's config file, where it is none of the package's own"),
    option('--quick', action='store_true', help='do not evaluate the metrics again'),
)
def main(args: Namespace) -> int:
    """Print a line for each check; 1 where one of them differs."""
    record = load(args.record)
    folder = args.work_dir or args.record.parent
    rows = [*of_files(record, folder), *of_versions(record)]
    cfg = settings(record, args.config)
    rows += [of_settings(record, cfg), *of_data(record, cfg)]
    rows += of_metrics(record, cfg, folder) if not args.quick else [('metrics', LEFT_OUT, '--quick')]
    print(table(rows, left=3))
    return int(any(state == WRONG for _, state, _ in rows))


def load(path: Path) -> dict[str, Any]:
    """A run's record; raises `ValueError` where the file is none, or not of a run that has finished a stretch."""
    record = records.read(path)
    if missing := [name for name in FIELDS if name not in record]:
        raise ValueError(f'record {str(path)!r} cannot be verified: it has no {", ".join(missing)}')
    return record


def settings(record: Mapping[str, Any], path: str | None) -> config.Config:
    """The config as the run had it: the file, and the options of its command line.

    A record is data, so that it names neither code to run nor a file that has some: the config is the package's own of
    that name, or the caller's, and options that build things are refused.

    Raises:
        ArgumentError: The config is the caller's, and not named.
        ValueError: The command line has an option that is not taken from a record.
    """
    from ..mm.engine.by_time import set_epochs
    from .train import configure, parse_args

    own = {f'configs/{name}.py': name for name in config.own_configs()}
    name = path or own.get(records.path(record) or '')
    if name is None:
        raise ArgumentError(None, f"--config is missing: {record['config']!r} is none of the package's own configs")
    words = shlex.split(records.renamed(records.command(record)))
    given = words[words.index('--cfg-options') + 1 :] if '--cfg-options' in words else []
    given = given[: next((i for i, word in enumerate(given) if word.startswith('--')), None)]
    for key, value in parse_options(given).items():
        if 'type' in key.split('.') or key.startswith('custom_imports') or not plain(value):
            raise ValueError(f'option {key}={value!r} is not taken from a record: what it names would be run')
    flags = [word for word in ('--amp', '--no-validate', '--no-test', '--auto-scale-lr') if word in words]
    cfg = configure(parse_args([name, *flags, *(['--cfg-options', *given] if given else [])]))
    if plan := record.get('plan'):  # of a run by time
        set_epochs(cfg, plan)
        cfg.minutes = plan['minutes']
    return cfg


def plain(value: Any) -> bool:
    """Whether the value of an option is a number, a word or a path, or a list of these."""
    if isinstance(value, list | tuple):
        return all(map(plain, value))
    return not isinstance(value, str) or not set(value) & set('(){}[]"\'`;=\\')


def of_files(record: Mapping[str, Any], folder: Path) -> Iterator[Check]:
    """Whether each checkpoint is whole, and the last one is of the record's iteration."""
    from ..mm.engine.workdir import CHECKPOINTS
    from ..weights.read import peek

    paths = sorted(path for pattern in CHECKPOINTS for path in folder.glob(pattern))
    if not paths:
        yield 'checkpoints', LEFT_OUT, f'none in {folder}'
        return
    broken = [path.name for path in paths if not intact(path)]
    said = f'{", ".join(broken)} damaged' if broken else f'{len(paths)} whole in {folder}'
    yield 'checkpoints', WRONG if broken else RIGHT, said
    most = max((peek(path)['meta']['iter'] for path in paths if path.name not in broken), default=None)
    yield 'iterations', RIGHT if most == record['iteration'] else WRONG, f'{most}, by the record {record["iteration"]}'


def of_versions(record: Mapping[str, Any]) -> Iterator[Check]:
    """Whether what makes the result is what it was."""
    from ..mm.engine.provenance import versions

    now, before = versions(), record['versions']
    others = [f'{n} {now.get(n, "absent")}, by the record {v}' for n, v in before.items() if now.get(n) != v]
    yield 'versions', WRONG if others else RIGHT, '; '.join(others) or f'{len(before)} packages as recorded'


def of_settings(record: Mapping[str, Any], cfg: config.Config) -> Check:
    """Whether the config and its options give what the run was set to; see `workdir.fingerprint`."""
    from ..mm.engine.workdir import IGNORED, fingerprint

    both = json.loads(json.dumps([record['settings'], cfg.to_dict()], default=str))
    then, now = (type(cfg)({k: v for k, v in given.items() if v}) for given in both)  # a switch that is off may be new
    if fingerprint(then) == fingerprint(now):
        return 'settings', RIGHT, f'{record["config"]} and the options of its command'
    names = [name for name in {**then, **now} if name not in IGNORED and then.get(name) != now.get(name)]
    return 'settings', WRONG, f'{record["config"]} and the options of its command give another {", ".join(names)}'


def of_data(record: Mapping[str, Any], cfg: config.Config) -> Iterator[Check]:
    """Whether the images and labels are those of the run, by their digest."""
    from mmengine.registry import DATASETS, init_default_scope

    from ..mm.engine.provenance import data_digest

    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    for split, before in record['data'].items():
        loader = cfg.get(f'{split}_dataloader')
        if not loader:
            yield f'{split} data', WRONG, 'the config has none'
            continue
        found = data_digest(DATASETS.build(loader.dataset))
        same = all(found[name] == before.get(name) for name in ('samples', 'sha256', 'of'))
        said = f'{found["samples"]} images, {found["of"]}: SHA-256 {found["sha256"][:12]}'
        other = '' if same else f', by the record {before.get("samples")}: {str(before.get("sha256"))[:12]}'
        yield f'{split} data', RIGHT if same else WRONG, said + other


def of_metrics(record: Mapping[str, Any], cfg: config.Config, folder: Path) -> Iterator[Check]:
    """Whether the last checkpoint has the record's metrics on the images of validation and test."""
    from copy import deepcopy
    from tempfile import TemporaryDirectory

    from ..mm.engine.workdir import newest

    path = newest(folder) if folder.is_dir() else None
    said = dict(val=metrics_of(record['curve'][-1]), test=metrics_of(record.get('test', {})))
    for split in [name for name, metrics in said.items() if metrics]:
        if path is None or not cfg.get(f'{split}_dataloader'):
            yield f'{split} metrics', LEFT_OUT, f'no checkpoint in {folder}' if path is None else 'the config has none'
            continue
        run = deepcopy(cfg)
        run.update(test_dataloader=run[f'{split}_dataloader'], test_evaluator=run[f'{split}_evaluator'], test_cfg={})
        run.update(load_from=str(path), resume=False)
        for name in ('train', 'val'):
            run.update({f'{name}_dataloader': None, f'{name}_cfg': None})
        run.update(optim_wrapper=None, param_scheduler=None, val_evaluator=None, auto_scale_lr=None)
        with TemporaryDirectory(ignore_cleanup_errors=True) as work_dir:
            run.work_dir = work_dir
            found = config.build_runner(run).test()
        yield from compared(split, found, said[split])


def metrics_of(fields: Mapping[str, Any]) -> dict[str, float]:
    """What of a record's fields is metrics."""
    others = ('epoch', 'iteration', 'loss', 'lr', 'seconds')
    return {k: v for k, v in fields.items() if k not in others and isinstance(v, int | float)}


def compared(split: str, found: Mapping[str, float], said: Mapping[str, float]) -> Iterator[Check]:
    for name, value in said.items():
        now = found.get(name, math.nan)
        same = math.isclose(now, value, rel_tol=DIGITS)
        yield f'{split} {name}', RIGHT if same else WRONG, f'{now:.6g}' + ('' if same else f', by the record {value}')
