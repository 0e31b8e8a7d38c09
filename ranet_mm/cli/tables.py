"""Write the tables of the documents from the run records, the golden counts and the model index."""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

DOCUMENTS = ('README.md', 'configs/ranet/README.md', 'results/README.md')
REGION = re.compile(r'(?P<open><!-- (?P<name>\w+):begin -->\n).*?(?P<close><!-- (?P=name):end -->)', re.DOTALL)
METRIC = 'accuracy/top1'

Record = Mapping[str, Any]


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='make_tables', description=__doc__)
    parser.add_argument('--root', type=Path, default=Path(), help='the checkout (the current folder by default)')
    parser.add_argument('--check', action='store_true', help='write nothing; exit with 1 where a table is not current')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    stale = 0
    for name in DOCUMENTS:
        path = args.root / name
        old = path.read_text(encoding='utf-8')
        new = fill(old, args.root, up='../' * name.count('/'))
        if new != old:
            stale += 1
            print(f'{path} {"is not current" if args.check else "written"}')
            if not args.check:
                path.write_text(new, encoding='utf-8')
    return int(args.check and stale > 0)


def fill(text: str, root: Path, up: str = '') -> str:
    """Replace what stands between `<!-- NAME:begin -->` and `<!-- NAME:end -->` by the table of that name.

    Args:
        text: A document in Markdown.
        root: The checkout.
        up: Path from the document's folder to the checkout, for links.

    Raises:
        ValueError: A region's name is not that of a table.
    """

    def region(match: re.Match) -> str:
        name = match['name']
        if name not in TABLES:
            raise ValueError(f'region {name!r} is not known: allowed are {", ".join(TABLES)}')
        return f'{match["open"]}\n{TABLES[name](root, up)}\n{match["close"]}'

    return REGION.sub(region, text)


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; columns after the first are aligned by their heading (`:` behind it: to the right)."""
    names = [h.removesuffix(':') for h in header]
    rule = ['---:' if h.endswith(':') else '---' for h in header]
    return ''.join(f'| {" | ".join(row)} |\n' for row in (names, rule, *rows))


def models_table(root: Path, up: str = '') -> str:
    """Every variant with the counts that the tests assert."""
    golden = json.loads((root / 'tests' / 'golden' / 'models.json').read_text(encoding='utf-8'))
    header = ('Model', 'Trunk depth:', 'Parameters:', 'MACs:', 'Input', 'Classes:', 'Features: channels / stride')
    return markdown(header, (model_row(name, facts) for name, facts in golden.items()))


def model_row(name: str, facts: Mapping[str, Any]) -> tuple[str, ...]:
    size = facts['img_size']
    features = ', '.join(f'{f["channels"]} / {f["reduction"]}' for f in facts['features'])
    counts = (f'{facts[key]:,}' for key in ('depth', 'params', 'macs'))
    return (f'`{name}`', *counts, f'{size} x {size}', str(facts['num_classes']), features)


def configs_table(root: Path, up: str = '') -> str:
    """The configs that the model index lists, with their cost."""
    index = yaml.safe_load((root / 'configs' / 'ranet' / 'metafile.yml').read_text(encoding='utf-8'))
    rows = (config_row(model, up) for model in index['Models'])
    return markdown(('Config', 'Data', 'Parameters:', 'MACs:'), rows)


def config_row(model: Mapping[str, Any], up: str) -> tuple[str, ...]:
    facts = model['Metadata']
    config = f'[{model["Name"]}]({up}{model["Config"]})'
    return config, facts['Training Data'], f'{facts["Parameters"]:,}', f'{facts["FLOPs"]:,}'


def results_table(root: Path, up: str = '') -> str:
    """One row for the runs that differ by seed alone: accuracy of the last epoch, cost, command and records."""
    files = sorted((root / 'results').glob('*.json'))
    records = [json.loads(f.read_text(encoding='utf-8')) | dict(file=f.relative_to(root).as_posix()) for f in files]
    runs = sorted((r for r in records if r.get('curve') and METRIC in r['curve'][-1]), key=_row_key)
    rows = [result_row(list(group), up) for _, group in groupby(runs, key=_row_key)]
    if not rows:
        return 'No run is recorded yet.\n'
    return markdown(('Config', 'Data', 'Epochs:', 'Top-1 accuracy:', 'Time', 'Command', 'Records'), rows)


def steps_table(root: Path, up: str = '') -> str:
    """Mean training loss of each pass, for the short runs that show that an option trains."""
    files = sorted((root / 'results' / 'steps').glob('*.json'))
    rows = [step_row(f.stem, json.loads(f.read_text(encoding='utf-8')), up) for f in files]
    return markdown(('Option', 'Network', 'Steps:', 'Loss of each pass', 'Command'), rows)


def step_row(name: str, record: Record, up: str) -> tuple[str, ...]:
    backbone = record['settings']['model']['backbone']
    network = ', '.join(f'{k}={v}' for k, v in backbone.items() if k != 'type')
    losses = ', '.join(f'{point["loss"]:.2f}' for point in record['curve'])
    option = f'[{name}]({up}results/steps/{name}.json)'
    return option, network, str(record['iteration']), losses, f'`{command(record)}`'


def _row_key(record: Record) -> tuple[str, ...]:
    return record['config'], data_label(record), epochs(record), record['hardware'], command(record)


def result_row(runs: Sequence[Record], up: str) -> tuple[str, ...]:
    path, data, trained, hardware, line = _row_key(runs[0])
    minutes = statistics.mean(r['seconds'] for r in runs) / 60
    links = ', '.join(f'[seed {r["seed"]}]({up}{r["file"]})' for r in runs)
    config = f'[{Path(path).stem}]({up}{path})'
    return config, data, trained, accuracy(runs), f'{minutes:.1f} min, {hardware}', f'`{line}`', links


def accuracy(runs: Sequence[Record]) -> str:
    """Mean of the last epochs, with the standard deviation over the seeds where there are several."""
    scores = [r['curve'][-1][METRIC] for r in runs]
    spread = f' ± {statistics.stdev(scores):.2f}' if len(scores) > 1 else ''
    return f'{statistics.mean(scores):.2f}{spread} %'


def epochs(record: Record) -> str:
    done, planned = record['curve'][-1]['epoch'], record['epochs']
    return str(done) if done == planned else f'{done} of {planned}'


def command(record: Record) -> str:
    """The command line that made a run, as recorded, or that of its config without options."""
    return record.get('command') or f'python tools/train.py {record["config"]}'


def data_label(record: Record) -> str:
    """What the images are; the JPEG copy of CIFAR-10 never goes by the name of the original."""
    dataset = record['settings']['train_dataloader']['dataset']
    while 'dataset' in dataset:  # a wrapper
        dataset = dataset['dataset']
    kind = dataset['type'].rpartition('.')[2]
    if kind == 'ImageFolder':
        return 'CIFAR-10 (JPEG copy)' if 'cifar10' in record['config'] else Path(dataset['root']).parent.name
    return {'CIFAR10': 'CIFAR-10', 'CIFAR100': 'CIFAR-100', 'Digits': 'Digits (scikit-learn)'}.get(kind, kind)


TABLES = dict(results=results_table, steps=steps_table, models=models_table, configs=configs_table)


if __name__ == '__main__':
    sys.exit(main())
