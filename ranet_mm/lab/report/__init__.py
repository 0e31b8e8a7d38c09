"""One page of HTML about a run, which needs no server and no network: figures, mistakes, and what it attends to.

`rundir.py` reads what a run has left, `evidence.py` asks its network anew, `charts.py` and `gallery.py` make of both
what `page.html` shows, with `page.css` and `page.js`; Plotly draws the charts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from .. import records
from ..predictions import BINS, Predictions, calibration_error
from . import charts, evidence, gallery
from .charts import percent
from .evidence import Evidence
from .rundir import Curves, Run

LIMIT = 9_500_000  # bytes of a page
HERE = Path(__file__).parent
IMAGES = 24  # in the gallery


@dataclass
class Subject:
    """What a page is about."""

    title: str
    command: str | None
    facts: dict[str, Any]
    record: dict[str, Any]
    curves: Curves
    config: str | None = None
    kind: str = 'run'  # or weights


def check() -> None:
    """Raises `ModuleNotFoundError` where a library of the page is not installed."""
    for library in ('plotly', 'jinja2', 'sklearn', 'matplotlib'):
        if find_spec(library) is None:
            raise ModuleNotFoundError(
                f"a report needs {library}, which is not installed: pip install 'ranet_mm[report]'"
            )


def of_run(run: Run) -> Subject:
    config = run.config.read_text(encoding='utf-8') if run.config else None
    command = records.command(run.record) if 'config' in run.record else None
    return Subject(run.name, command, facts(run.record), run.record, run.curves, config)


def of_weights(name: str, model: nn.Module, images: Sequence[str]) -> Subject:
    """Weights that no run tells of."""
    record = dict(parameters=sum(p.numel() for p in model.parameters()))
    told = dict(Weights=name, Images=', '.join(images))
    return Subject(name, None, told | facts(record), record, Curves(), kind='weights')


def facts(record: dict[str, Any]) -> dict[str, Any]:
    """What the record says of the run, in words."""
    if not record:
        return {}
    data = record.get('data') or {}
    sets = {split: f'{told.get("name") or "?"}, {told["samples"]:,} images' for split, told in data.items()}
    found = {
        'Config': record.get('config'),
        'Parameters': f'{record["parameters"]:,}' if 'parameters' in record else None,
        'Data to train on': sets.get('train'),
        'Data to validate on': sets.get('val'),
        'Data to test on': sets.get('test'),
        'Epochs': records.epochs(record) if 'epoch' in (record.get('curve') or [{}])[-1] else None,
        'Iterations': f'{record["iteration"]:,} of {record["iterations"]:,}' if 'iterations' in record else None,
        'Time': duration(record['seconds']) if 'seconds' in record else None,
        'Speed': f'{record["images_per_second"]:,} images/s in training' if 'images_per_second' in record else None,
        'Peak memory': f'{record["peak_memory_mib"]:,} MiB' if 'peak_memory_mib' in record else None,
        'Hardware': records.hardware(record) if 'hardware' in record else None,
        'Seed': record.get('seed'),
        'Commit': record.get('commit'),
        'Libraries': ', '.join(f'{name} {version}' for name, version in record.get('versions', {}).items()),
    }
    return {name: value for name, value in found.items() if value not in (None, '')}


def duration(seconds: float) -> str:
    return f'{seconds:.0f} seconds' if seconds < 100 else f'{seconds / 60:.0f} minutes'


def numbers(subject: Subject, found: Predictions | None) -> list[tuple[str, str, str]]:
    """The figures at the head of a page: what, how much, and of what."""
    tiles = measured(found) if found else []
    record = subject.record
    if not found and record and (score := records.score(record)) is not None:
        tiles.append(('accuracy', f'{score:.2f} %', f'by the record, on {records.images(record)} images'))
    if 'parameters' in record:
        tiles.append(('parameters', f'{record["parameters"]:,}', ''))
    if 'seconds' in record:
        tiles.append(('training', duration(record['seconds']), record.get('hardware', '')))
    return tiles


def measured(found: Predictions) -> list[tuple[str, str, str]]:
    confidence, taken_for = found.scores.max(1)
    right, images = taken_for == found.labels, len(found.labels)
    tiles = [('accuracy', percent(share(right)), f'{int(right.sum()):,} of {images:,} test images')]
    if found.scores.shape[1] > 5:
        five = (found.scores.topk(5).indices == found.labels[:, None]).any(1)
        tiles.append(('among the first five', percent(share(five)), 'of the classes'))
    error = calibration_error(confidence, right.double()).item()
    return [*tiles, ('calibration error', percent(error), f'expected, {BINS} bins')]


def share(right: Tensor) -> float:
    return right.double().mean().item()


def contradictions(record: dict[str, Any], found: Predictions) -> list[str]:
    """That the record says another accuracy of as many images."""
    said = record.get('test', {}).get(records.METRIC)
    now = 100 * share(found.scores.argmax(1) == found.labels)
    alike = record.get('data', {}).get('test', {}).get('samples') == len(found.labels)
    if said is None or not alike or abs(said - now) < 0.005:
        return []
    return [f'The record of the run says {said:.2f} % of these images, and this checkpoint is right in {now:.2f} %.']


def render(subject: Subject, seen: Evidence | None, notes: Sequence[str], made_by: str) -> str:
    """The page.

    Args:
        subject: What it is about.
        seen: The network's answers; None where there are none.
        notes: What is missing, and why.
        made_by: The command line.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    found, library = seen.found if seen else None, get_plotlyjs()
    training = charts.training(subject.curves)
    answers = [charts.by_class(found), charts.confusions(found), charts.reliability(found)] if found else []
    notes = [*notes, *(contradictions(subject.record, found) if found else [])]
    drawn = [chart.figure() for chart in (*training, *answers) if chart.data]
    used = len(library) + gallery.size(drawn) * 2 + len(subject.config or '')
    shown = pictures(seen, LIMIT - used) if seen else None
    if shown and len(shown['images']) < shown['asked']:
        notes.append(f'{len(shown["images"])} of {shown["asked"]} images fit into the gallery of this page.')
    environment = Environment(
        autoescape=True, loader=FileSystemLoader(HERE), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template('page.html').render(
        subject=subject, notes=notes, numbers=numbers(subject, found), training=training, gallery=shown,
        **{chart.name: chart for chart in answers}, answers=answers, plotly=library, made_by=made_by,
        style=(HERE / 'page.css').read_text(encoding='utf-8'), script=(HERE / 'page.js').read_text(encoding='utf-8'),
        data=dict(charts=drawn, gallery=shown, colours=gallery.colours()),
        version=import_module('ranet_mm').__version__,
        date=datetime.now(timezone.utc).strftime('%Y-%m-%d %H:%M UTC'), mistakes=mistakes(found), maps=gallery.MAPS,
    )  # fmt: skip


def mistakes(found: Predictions | None) -> int:
    return int((found.scores.argmax(1) != found.labels).sum()) if found else 0


def pictures(seen: Evidence, budget: int) -> dict[str, Any]:
    """Half of the gallery are the worst mistakes, as far as there are so many."""
    wrong = evidence.worst(seen.found, IMAGES // 2)
    right = evidence.right(seen.found, IMAGES - len(wrong))
    shown = gallery.build(seen, evidence.interleaved(wrong, right), budget)
    order = {index: place for place, index in enumerate([*wrong, *right])}
    shown['images'].sort(key=lambda entry: order[entry['index']])
    return shown
