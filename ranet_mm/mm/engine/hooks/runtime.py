"""A test in which another form or library computes the logits."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.registry import DATASETS
from mmengine.runner import Runner
from mmpretrain.models import BaseClassifier
from torch import Tensor, nn

from ....openvino_graph import CALIBRATION
from ....registry import HOOKS
from ....runtimes import ON_CPU, for_each_size, words_of


class Logits(nn.Module):
    """A copy of a classifier from preprocessed images (N, C, H, W) to logits (N, classes)."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = deepcopy(classifier)
        self.classifier.data_preprocessor = None  # whose work is done
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(images, mode='tensor')


@HOOKS.register_module()
class RuntimeHook(Hook):
    """Have a form of the network compute the logits of a test, with the weights that the test is of.

    The head makes predictions of them as ever.

    Args:
        form: Words joined by +; see `ranet_mm.runtimes`.
        calibration: Config of the data set of training images that `int8` needs, with the pipeline of the test.

    Raises:
        ValueError: The form is not known, or the model is no classifier.
    """

    priority = 'VERY_LOW'  # after a hook that puts averages in the place of the weights

    def __init__(self, form: str, calibration: Mapping[str, Any] | None = None) -> None:
        words_of(form)
        self.form, self.calibration = form, calibration

    def before_test_epoch(self, runner: Runner) -> None:
        model = classifier(runner.model)
        images = None if self.calibration is None else training_images(self.calibration, model)
        here = next(model.parameters()).device
        there = torch.device('cpu') if {*words_of(self.form)} & {*ON_CPU} else here
        run = for_each_size(Logits(model).to(there), self.form, None if images is None else images.to(there))
        model.extract_feat = lambda inputs, *args, **kwargs: run(inputs.to(there)).to(here)
        model.head.forward = lambda logits: logits

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        model = classifier(runner.model)
        del model.extract_feat, model.head.forward


def classifier(model: nn.Module) -> nn.Module:
    """The classifier inside whatever wraps it.

    Raises:
        ValueError: There is none with a head.
    """
    while not isinstance(model, BaseClassifier) and isinstance(getattr(model, 'module', None), nn.Module):
        model = model.module
    if not isinstance(model, BaseClassifier) or not model.with_head:
        raise ValueError(f'a runtime is not allowed for a model of type {type(model).__name__}: it is no classifier')
    return model


def training_images(cfg: Mapping[str, Any], model: nn.Module) -> Tensor:
    """At most `CALIBRATION` images of a data set, at even distances, as the network gets them: (N, C, H, W).

    Raises:
        ValueError: They become of several sizes.
    """
    dataset = DATASETS.build(deepcopy(cfg))
    count = min(CALIBRATION, len(dataset))
    inputs = [dataset[i * len(dataset) // count]['inputs'] for i in range(count)]
    sizes = {tuple(image.shape[1:]) for image in inputs}
    if len(sizes) > 1:
        raise ValueError(f'training images of several sizes, as in {sorted(sizes)[:2]}, cannot calibrate int8')
    return model.data_preprocessor(dict(inputs=torch.stack(inputs)), training=False)['inputs'].float()
