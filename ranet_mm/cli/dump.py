"""Predictions written as arrays, for `test --dump FILE.npz`."""

from __future__ import annotations

from mmengine.evaluator import BaseMetric, DumpResults

from .predictions import from_samples, write_npz


class DumpArrays(DumpResults):
    """Writes a classifier's scores, labels, image paths and class names at the end of an evaluation.

    Raises:
        ValueError: The model is no classifier.
    """

    def __init__(self, out_file_path: str) -> None:
        BaseMetric.__init__(self)
        self.out_file_path = out_file_path

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        found = from_samples(results)
        found.classes = (self.dataset_meta or {}).get('classes', ())
        write_npz(self.out_file_path, found)
        return {}
