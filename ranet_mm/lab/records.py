"""What tables and plots read in the record of a run."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..mm.config import shown
from ..mm.renamed import GIVEN_UP, RENAMED
from ..weights import mapping
from .grid import Cell, Grid

FORM = dict(config=str, seed=int, settings=dict, curve=list, versions=dict)
METRIC = 'accuracy/top1'
OWN = re.compile(r' randomness\.seed=\d+| --work-dir \S+| --resume\b')  # of one run alone

Record = Mapping[str, Any]


def load(files: Iterable[Path], root: Path) -> list[Record]:
    """Records of a checkout, of runs or measurements, each with its place in it as `file`."""
    return [mapping(f, 'record') | dict(file=f.relative_to(root).as_posix()) for f in sorted(files)]


def read(path: Path) -> dict[str, Any]:
    """The record in a file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no JSON, or lacks what every record has.
    """
    record = mapping(path, 'record')
    if wrong := [name for name, kind in FORM.items() if not isinstance(record.get(name), kind)]:
        raise ValueError(f'record {str(path)!r} cannot be read: it has no {", ".join(wrong)} of a run')
    return record


def score(record: Record) -> float | None:
    """Top-1 accuracy in percent: on the test images where they were read, else the last on validation images."""
    curve = record.get('curve') or [{}]
    return record.get('test', {}).get(METRIC, curve[-1].get(METRIC))


def images(record: Record) -> str:
    """Which images the accuracy is of."""
    return 'test' if METRIC in record.get('test', {}) else 'validation'


def mean(runs: Sequence[Record]) -> float:
    """Accuracy in percent over several runs."""
    return statistics.mean(map(score, runs))


def accuracy(runs: Sequence[Record]) -> str:
    """Mean over the runs, with the standard deviation where there are several."""
    return summary([score(r) for r in runs])


def summary(scores: Sequence[float]) -> str:
    """What `accuracy` shows, of accuracies in percent."""
    spread = f' ± {statistics.stdev(scores):.2f}' if len(scores) > 1 else ''
    return f'{statistics.mean(scores):.2f}{spread} %'


def epochs(record: Record) -> str:
    """How many were trained, after how many of the runs that this one started from: `8 + 7`."""
    done, planned = record['curve'][-1]['epoch'], record['epochs']
    before = [str(round(run['epochs'] * run['iteration'] / run['iterations'])) for run in record.get('earlier', [])]
    return ' + '.join([*before, str(done) if done == planned else f'{done} of {planned}'])


def seconds(record: Record) -> float:
    """Of training and validation, with those of the runs that this one started from."""
    return record['seconds'] + sum(run['seconds'] for run in record.get('earlier', []))


def hardware(record: Record) -> str:
    """What a run ran on, in how many processes."""
    several = record.get('processes', 1)
    return f'{several} processes, each on {record["hardware"]}' if several > 1 else record['hardware']


def command(record: Record) -> str:
    """The command line that made a run, as recorded, or that of its config without options."""
    return record.get('command') or f'python tools/train.py {record["config"]}'


def recipe(record: Record) -> str:
    """The command line without the seed and the work dir: the same for runs that differ by them alone."""
    return re.sub(r' --cfg-options(?= --|$)', '', OWN.sub('', command(record)))  # without what was its only option


def lines(record: Record) -> list[str]:
    """The command lines that make a run: of those that it started from, of what lay between, and its own.

    They have the names of today. Those of a config that has been given up are as they were, each with its commit.
    """
    gone = path(record) is None
    runs = [*record.get('earlier', []), record]
    *before, own = (f'`{recipe(run)}` at `{run["commit"]}`' if gone else f'`{renamed(recipe(run))}`' for run in runs)
    between = (line if gone else renamed(line) for line in record.get('prepare', ()))
    return [*before, *(f'`{line}`' for line in between), own]


def path(record: Record) -> str | None:
    """Where a record's config is now; None where it has been given up."""
    return None if Path(record['config']).stem in GIVEN_UP else renamed(record['config'])


def renamed(line: str) -> str:
    """A command line, or the path of a config, in the names of today."""
    options = [shown(RENAMED[name][1]) for name in re.findall(r'configs/ranet/([\w-]+)', line) if name in RENAMED]
    new = re.sub(r'(?<=/)[\w-]+', lambda match: RENAMED.get(match[0], match)[0], line)
    if not options or ' ' not in line:
        return new
    start, _, rest = new.partition(' --cfg-options')
    return f'{start} --cfg-options {options[0]}{rest}'


def data_label(record: Record) -> str:
    """What the images are, by their pixels: trained on, and tested on where those are others."""
    names = {split: facts.get('name') for split, facts in record['data'].items()} if 'data' in record else {}
    if not names.get('train'):
        return label_by_config(record)
    tested = names.get('test') or names['train']
    return names['train'] if tested == names['train'] else f'{names["train"]}, tested on {tested}'


def label_by_config(record: Record) -> str:
    """What the images of a record without the names of its data are: what such records say, nobody looked at pixels."""
    dataset = record['settings']['train_dataloader']['dataset']
    while 'dataset' in dataset:  # a wrapper
        dataset = dataset['dataset']
    kind = dataset['type'].rpartition('.')[2]
    if kind == 'ImageFolder':
        words = re.split(r'[^a-z0-9]+', (record['config'] + ' ' + dataset['root']).lower())
        return 'CIFAR-10 (JPEG copy)' if 'cifar10' in words else Path(dataset['root']).parent.name
    return {'CIFAR10': 'CIFAR-10', 'CIFAR100': 'CIFAR-100', 'Digits': 'Digits (scikit-learn)'}.get(kind, kind)


@dataclass(frozen=True)
class Entry:
    """One place of a grid: its labels, its cells, and the records there are of them, one for each seed."""

    labels: Mapping[str, str]
    cells: Sequence[Cell]
    runs: Sequence[Record]


def entries(grid: Grid, root: Path) -> list[Entry]:
    """The places of a grid in the order of its axes."""
    places: dict[tuple[str, ...], list[Cell]] = {}
    for cell in grid.cells():
        places.setdefault(tuple(cell.labels.values()), []).append(cell)
    found = []
    for cells in places.values():
        files = [root / 'results' / cell.study / f'{cell.key}.json' for cell in cells]
        found.append(Entry(cells[0].labels, cells, load(filter(Path.is_file, files), root)))
    return found


def published(root: Path) -> dict[str, Any]:
    """Accuracies that others have published, with their sources."""
    return yaml.safe_load((root / 'results' / 'published.yml').read_text(encoding='utf-8'))
