"""A sweep file describes a grid of training runs as data."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any

import yaml

from ..weights import claims
from .key import digest, identity

FIELDS = ('base', 'title', 'note', 'config', 'seeds', 'options', 'axes', 'jobs', 'minutes', 'published')
REST = 'rest'  # of the time that a sweep has
TRAIN = 'tools/train.py'
MOST = 100_000  # cells of a file
FORM = dict(config=str, title=str, note=str, published=str, axes=dict | None)
WORDS = {str: 'text', dict | None: 'a mapping of axes'}
# What a field must be, and the words for it.
ALLOWED = dict(
    seeds=(lambda v: isinstance(v, list) and v and all(type(s) is int for s in v), 'a list of whole numbers'),
    jobs=(lambda v: type(v) is int and v >= 1, '1 or more'),
    minutes=(
        lambda v: v == REST or (type(v) in (int, float) and 0 < v < math.inf), f'a number above 0, or the word {REST}'
    ),
)  # fmt: skip

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """One run of a grid; cells of the same settings, minutes and seed are one, whatever their labels."""

    study: str  # folder of the sweep file; runs and records are kept by it
    grid: str  # name of the sweep file
    config: str  # config file, from the checkout
    options: Options  # what it changes in the config, by dotted names
    labels: Mapping[str, str]  # axis name -> name of the value
    seed: int
    jobs: int = 1  # how many such runs share the machine
    minutes: float | str | None = None  # for which it trains, instead of the config's epochs, or `REST`

    @property
    def key(self) -> str:
        """Name of the run's folder and record: the network, a digest of all that makes the result, and the seed."""
        name, settings = identity(self.config, str(Path(self.config).resolve()), json.dumps(self.options))
        whole = settings if self.minutes is None else digest([settings, self.minutes])
        return f'{name}_{whole[:8]}_seed{self.seed}'

    @property
    def title(self) -> str:
        labels = (f'{axis}={value}' for axis, value in self.labels.items())
        return ' '.join([f'{self.study}/{self.grid}', *labels, f'seed={self.seed}'])

    def arguments(self, work_dir: Path, rest: float | str = REST) -> list[str]:
        """The command line of the run, without the interpreter; it goes on from what the work dir holds.

        Args:
            work_dir: Where the run goes.
            rest: Minutes that are left of the sweep's time.
        """
        options = [f'{k}={_shown(v)}' for k, v in self.options.items()]
        options.append(f'randomness.seed={self.seed}')
        program = [TRAIN] if Path(TRAIN).is_file() else ['-m', 'ranet', 'train']  # outside a checkout
        minutes = rest if self.minutes == REST else self.minutes
        limit = [] if minutes is None else ['--minutes', minutes if minutes == REST else f'{minutes:.4g}']
        return [*program, self.config, '--work-dir', str(work_dir), '--resume', *limit, '--cfg-options', *options]


@dataclass(frozen=True)
class Grid:
    """What a sweep file says; see docs/results.md."""

    study: str
    name: str
    config: str
    title: str = ''
    note: str = ''
    seeds: Sequence[int] = (0,)
    options: Options = field(default_factory=dict)
    axes: Mapping[str, Mapping[str, Options]] = field(default_factory=dict)
    jobs: int = 1
    minutes: float | str | None = None
    published: str = ''

    def cells(self) -> Iterator[Cell]:
        """Every cell with the first seed, then every cell with the second, and so on; the first axis changes last."""
        for seed, values in itertools.product(self.seeds, itertools.product(*(v.items() for v in self.axes.values()))):
            options = dict(self.options)
            for _, changes in values:
                options.update(changes)
            config, minutes = options.pop('config', self.config), options.pop('minutes', self.minutes)
            minutes = minutes if minutes in (None, REST) else float(minutes)
            labels = dict(zip(self.axes, (label for label, _ in values), strict=True))
            yield Cell(self.study, self.name, config, options, labels, seed, self.jobs, minutes)


def load(path: str | Path) -> Grid:
    """Read a sweep file; fields it does not give come from the file that `base` names, and options are added to its.

    Raises:
        FileNotFoundError: The file, its base or a config does not exist.
        ValueError: A field is not known, missing or of the wrong form.
    """
    path = Path(path)
    fields = _read(path)
    for name in fields:
        if name not in FIELDS:
            raise ValueError(f'field {name!r} of {str(path)!r} is not known: allowed are {", ".join(FIELDS)}')
    if 'config' not in fields:
        raise ValueError(f'sweep file {str(path)!r} has no field config')
    for name, value in fields.items():
        if name in FORM and not isinstance(value, FORM[name]):
            raise ValueError(f'{name}={value!r} of {str(path)!r} is not allowed: it must be {WORDS[FORM[name]]}')
    fields['axes'] = {str(k): _axis(path, k, v) for k, v in (fields.get('axes') or {}).items()}
    if math.prod(map(len, fields['axes'].values())) > MOST:
        raise ValueError(f'axes of {str(path)!r} are not allowed: they make more than {MOST:,} cells')
    changes = (fields['options'], *(v for values in fields['axes'].values() for v in values.values()))
    minutes = [('minutes', options['minutes']) for options in changes if 'minutes' in options]
    for name, value in (*fields.items(), *minutes):
        if name in ALLOWED and not ALLOWED[name][0](value):
            raise ValueError(f'{name}={value!r} of {str(path)!r} is not allowed: it must be {ALLOWED[name][1]}')
    fields.pop('base', None)
    return Grid(path.parent.name, path.stem, **fields)


def _read(path: Path, above: Sequence[Path] = ()) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f'sweep file {str(path)!r} does not exist')
    fields = fields_of(path, 'sweep file')
    if not isinstance(fields.get('base', ''), str) or path.resolve() in above:
        raise ValueError(f'base={fields.get("base")!r} of {str(path)!r} is not allowed: it must name another file')
    base = _read(path.parent / fields['base'], (*above, path.resolve())) if 'base' in fields else {}
    options = [part.get('options') or {} for part in (base, fields)]
    if not all(isinstance(part, dict) and all(isinstance(key, str) for key in part) for part in options):
        raise ValueError(f'options of {str(path)!r} are not allowed: they must map names in the config to values')
    return {**base, **fields, 'options': {**options[0], **options[1]}}


def fields_of(path: Path, what: str) -> dict[str, Any]:
    """The fields of a YAML file, plain data.

    Args:
        path: Of the file.
        what: Its name in errors.

    Raises:
        ValueError: It is no text, no YAML of plain data, or no mapping.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding='utf-8'))
        claims.check_content(found, path.stat().st_size)
    except (yaml.YAMLError, ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f'{what} {str(path)!r} cannot be read: {error}') from error
    if not isinstance(found, dict):
        raise ValueError(f'{what} {str(path)!r} is not allowed: it must be a mapping of fields')
    return found


def _axis(path: Path, name: str, values: Any) -> dict[str, Options]:
    if not isinstance(values, dict) or not values or not all(isinstance(v or {}, dict) for v in values.values()):
        raise ValueError(
            f'axis {name!r} of {str(path)!r} is not allowed: it must map the name of each value to the options it sets'
        )
    return {str(label): changes or {} for label, changes in values.items()}


def collect(paths: Iterable[str | Path], only: Sequence[str] = ()) -> list[Cell]:
    """The cells of several sweep files by value: a cell's first seed before any second one, then as the files stand.

    Args:
        paths: Sweep files, the most valuable first.
        only: `AXIS=VALUE` leaves out cells with another value; several values of an axis add up.

    Raises:
        ValueError: `only` names an axis or a value that no file has.
    """
    rounds = [(grid.seeds.index(cell.seed), cell) for grid in map(load, paths) for cell in grid.cells()]
    unique: dict[tuple[str, str], Cell] = {}
    for _, cell in sorted(rounds, key=itemgetter(0)):
        unique.setdefault((cell.study, cell.key), cell)
        if not Path(cell.config).is_file():
            raise FileNotFoundError(f'config file {cell.config!r} of {cell.study}/{cell.grid} does not exist')
    return _select(list(unique.values()), only)


def _select(cells: list[Cell], only: Sequence[str]) -> list[Cell]:
    places = [{**cell.labels, 'seed': str(cell.seed)} for cell in cells]
    wanted: dict[str, set[str]] = {}
    for choice in only:
        axis, equals, value = choice.partition('=')
        known = {place[axis] for place in places if axis in place}
        if not equals or value not in known:
            allowed = ', '.join(sorted(f'{axis}={v}' for v in known)) or 'AXIS=VALUE with an axis of the sweep file'
            raise ValueError(f'--only {choice!r} is not allowed: it must be one of {allowed}')
        wanted.setdefault(axis, set()).add(value)
    chosen = (all(place.get(axis) in values for axis, values in wanted.items()) for place in places)
    return list(itertools.compress(cells, chosen))


def _shown(value: Any) -> str:
    """A value as `--cfg-options` reads it."""
    return f'[{",".join(map(_shown, value))}]' if isinstance(value, list | tuple) else str(value)
