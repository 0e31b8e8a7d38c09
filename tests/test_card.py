"""The figures of a model card."""

import pytest
import torch

from ranet_mm.cli.card import calibration_error, figures, main


def test_calibration_error_by_hand():
    confidence = torch.tensor([0.95, 0.97, 0.51, 0.52])
    right = torch.tensor([1.0, 0.0, 1.0, 0.0])
    expected = (abs(0.95 + 0.97 - 1) + abs(0.51 + 0.52 - 1)) / 4
    assert calibration_error(confidence, right).item() == pytest.approx(expected)
    assert calibration_error(torch.ones(3), torch.ones(3)) == 0


def test_figures():
    scores = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
    found = figures(scores, torch.tensor([0, 1, 1, 1]), ['cat', 'dog'])
    assert (found['images'], found['accuracy']) == (4, 75.0)
    assert found['per_class'] == {'cat': 100.0, 'dog': 66.67}


def test_unknown_weights(tmp_path, capsys):
    assert main(['attention1.none', str(tmp_path), str(tmp_path)]) == 1
    assert "weights 'attention1.none' are not known" in capsys.readouterr().err
