"""Metrics of predictions that `test --dump` wrote."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional as F

from . import card, predictions, program
from .confusion_matrix import count


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = program.Parser(prog='eval_metric', description=__doc__)
    parser.add_argument('predictions', help='file of `test --dump`: .npz or .pkl')
    parser.add_argument('--topk', nargs='+', type=int, default=[1, 5], metavar='K', help='accuracies to compute')
    parser.add_argument('--metric', nargs='+', action='append', metavar='KEY=VALUE',
                        help="one of mmpretrain's instead, as in type=SingleLabelMetric average=None")  # fmt: skip
    parser.add_argument('--per-class', action='store_true', help='precision, recall and F1 of each class too')
    parser.add_argument('--json', action='store_true', help='print JSON instead of a table')
    parser.add_argument('--debug', action='store_true', help='show the traceback of an error')
    return parser.parse_args(argv)


def eval_metric(args: argparse.Namespace) -> None:
    """Print the metrics.

    Raises:
        ValueError: The predictions cannot be read, or an option is not allowed.
    """
    if args.metric:
        samples = predictions.read_samples(args.predictions)
        print(json.dumps(openmmlab(samples, args.metric), indent=1, default=_plain))
        return
    found = predictions.read(args.predictions)
    metrics = overall(found, args.topk)
    classes = per_class(found) if args.per_class else {}
    if args.json:
        print(json.dumps({**metrics, **(dict(per_class=classes) if classes else {})}, indent=1))
        return
    print(program.table([(name, f'{value:.4g}') for name, value in metrics.items()]))
    if classes:
        rows = [(name, *(f'{v:.2f}' for v in of.values())) for name, of in classes.items()]
        print(program.table([('class', *next(iter(classes.values()))), *rows]))


def overall(found: predictions.Predictions, topk: Sequence[int]) -> dict[str, float]:
    """Accuracies, macro averages and calibration error in percent, and the mean log loss in nats."""
    classes = found.scores.shape[1]
    wrong = [k for k in topk if not 1 <= k <= classes]
    if wrong and topk != [1, 5]:
        raise ValueError(f'--topk {wrong[0]} is not allowed: it must be from 1 to {classes}, the number of classes')
    ranked = found.scores.argsort(1, descending=True) == found.labels[:, None]
    metrics = {f'accuracy/top{k}': 100 * _mean(ranked[:, :k].any(1)) for k in topk if k <= classes}
    of_classes = per_class(found).values()
    for name in ('precision', 'recall', 'f1'):
        metrics[name] = sum(row[name] for row in of_classes) / classes
    confidence, taken_for = found.scores.max(1)
    right = (taken_for == found.labels).double()
    metrics['calibration error'] = 100 * card.calibration_error(confidence, right).item()
    metrics['log loss'] = F.nll_loss(found.scores.clamp(min=1e-12).log(), found.labels).item()
    return dict(images=len(found.labels), **metrics)


def _mean(hits: torch.Tensor) -> float:
    return hits.double().mean().item()


def per_class(found: predictions.Predictions) -> dict[str, dict[str, float]]:
    """Precision, recall and F1 of each class in percent; 0 where there is nothing to divide by."""
    counts = count(found.scores, found.labels).double()
    hits = counts.diagonal()
    precision, recall = (100 * hits / counts.sum(dim).clamp(min=1) for dim in (0, 1))
    f1 = 2 * precision * recall / (precision + recall).clamp(min=1e-12)
    columns = zip(found.names(), precision.tolist(), recall.tolist(), f1.tolist(), strict=True)
    return {name: dict(precision=p, recall=r, f1=f) for name, p, r, f in columns}


def openmmlab(samples: Sequence[dict], metrics: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Metrics of mmpretrain's registry on dumped samples."""
    from ..mm.engine.console import quiet_imports

    quiet_imports()
    import mmpretrain.evaluation  # noqa: F401
    from mmengine.evaluator import Evaluator
    from mmpretrain.registry import METRICS

    built = [METRICS.build(program.parse_options(options)) for options in metrics]
    return Evaluator(built).offline_evaluate(list(samples), None)


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, 'tolist') else str(value)


main = program.entry(eval_metric, parse_args)
