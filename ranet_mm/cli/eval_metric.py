"""Metrics of predictions that `test --dump` wrote."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Collection, Sequence
from typing import Any

from torch.nn import functional as F

from ..lab import predictions
from .program import command, option, parse_options, table

NAMES = ('precision', 'recall', 'f1')


@command(
    'predictions',
    '--json',
    option('--topk', nargs='+', type=int, default=[1, 5], metavar='K', help='accuracies to compute'),
    option('--metric', nargs='+', action='append', metavar='KEY=VALUE',
           help="one of mmpretrain's instead, as in type=SingleLabelMetric average=None"),
    option('--per-class', action='store_true', help='precision, recall and F1 of each class too'),
)  # fmt: skip
def main(args: Namespace) -> None:
    if args.metric:
        samples = predictions.read_samples(args.predictions)
        print(json.dumps(openmmlab(samples, args.metric), indent=1, default=_plain))
        return
    found = predictions.read(args.predictions)
    classes, absent = per_class(found), found.absent()
    metrics = overall(found, args.topk, classes.values())
    if args.json:
        more = (dict(absent=absent) if absent else {}) | (dict(per_class=classes) if args.per_class else {})
        print(json.dumps(metrics | more, indent=1))
        return
    print(table([(name, f'{value:.4g}') for name, value in metrics.items()]))
    if absent:
        print(note(len(classes), absent))
    if args.per_class:
        rows = [(name, *('-' if value is None else f'{value:.2f}' for value in of.values()))
                for name, of in classes.items()]  # fmt: skip
        print(table([('class', *NAMES), *rows]))


def note(classes: int, absent: Sequence[str]) -> str:
    """A line that says which classes macro averages are over."""
    shown = classes - len(absent)
    return f'macro averages are over the {shown} of {classes} classes that the images show; {predictions.told(absent)}'


def overall(
    found: predictions.Predictions, topk: Sequence[int], of_classes: Collection[dict[str, float | None]]
) -> dict[str, float]:
    """Accuracies, macro averages and calibration error in percent, and the mean log loss in nats.

    The averages are over the classes that the images show: nothing is known of the others.
    """
    classes = found.scores.shape[1]
    wrong = [k for k in topk if not 1 <= k <= classes]
    if wrong and topk != [1, 5]:
        raise ValueError(f'--topk {wrong[0]} is not allowed: it must be from 1 to {classes}, the number of classes')
    ranked = found.scores.argsort(1, descending=True) == found.labels[:, None]
    metrics = {f'accuracy/top{k}': 100 * ranked[:, :k].any(1).double().mean().item() for k in topk if k <= classes}
    shown = [row for row in of_classes if None not in row.values()]
    metrics |= {name: sum(row[name] for row in shown) / len(shown) for name in NAMES}
    confidence, taken_for = found.scores.max(1)
    right = (taken_for == found.labels).double()
    metrics['calibration error'] = 100 * predictions.calibration_error(confidence, right).item()
    metrics['log loss'] = F.nll_loss(found.scores.clamp(min=1e-12).log(), found.labels).item()
    return dict(images=len(found.labels), **metrics)


def per_class(found: predictions.Predictions) -> dict[str, dict[str, float | None]]:
    """Precision, recall and F1 of each class in percent; 0 where no image is taken for it, None where none shows it."""
    from sklearn.metrics import precision_recall_fscore_support

    names = found.names()
    *columns, counts = precision_recall_fscore_support(
        found.labels, found.scores.argmax(1), labels=range(len(names)), zero_division=0
    )
    rows = zip(names, counts, *(100 * column for column in columns), strict=True)
    return {
        name: {key: float(value) if count else None for key, value in zip(NAMES, values, strict=True)}
        for name, count, *values in rows
    }


def openmmlab(samples: Sequence[dict], metrics: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Metrics of mmpretrain's registry on dumped samples."""
    from ..mm.engine.console import quiet_imports

    quiet_imports()
    import mmpretrain.evaluation  # noqa: F401
    from mmengine.evaluator import Evaluator
    from mmpretrain.registry import METRICS

    built = [METRICS.build(parse_options(options)) for options in metrics]
    return Evaluator(built).offline_evaluate(list(samples), None)


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, 'tolist') else str(value)
