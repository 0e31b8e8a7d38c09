"""Checkpoints of another network are refused, and data of other classes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmengine.evaluator import DumpResults
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import BaseLoop, CheckpointLoader, Runner
from torch import Tensor, nn

from ....hub import with_network
from ....registry import HOOKS
from ....weights import keys, showing
from ....weights.description import architecture, classes_of, contradictions, describe, images_of, network, network_of
from ....weights.fit import misfits
from ....weights.keys import BACKBONE, CLASSIFIER, FIRST_CONV
from ...data import by_name
from .data_guard import check_classes, heads


@HOOKS.register_module()
class CheckpointGuardHook(Hook):
    """Refuse a checkpoint of another network, images or labels; MMEngine only logs the first and leaves weights random.

    When training starts from a checkpoint (`load_from`), only the backbone must fit, which adapts its first convolution
    to other channels by itself: the rest is trained anew where it differs, a classifier of other classes too. Another
    normalization is a warning then, as is another test pipeline in testing.

    Data that a checkpoint is tested or resumed on must have its classes in its order, which `Runner` sees to in a test
    and MMEngine's own does not, and so must those that a run is validated and tested on have the classes of training.

    Raises:
        ValueError: Keys or shapes differ, and the sentence lists the first of them and both architectures; or classes
            differ, are more than the head tells, or images have no labels.
    """

    def before_train(self, runner: Runner) -> None:
        dataset = runner.train_dataloader.dataset
        check_labels(dataset, runner.model)
        if not runner._resume and not runner._load_from:
            check_start(runner.cfg.model, dataset)
        for loop in built(runner._val_loop, runner._test_loop):
            check_names(by_name.names(dataset), loop, 'the data to train on')

    def before_val(self, runner: Runner) -> None:
        self._check(runner, runner.val_loop)

    def before_test(self, runner: Runner) -> None:
        self._check(runner, runner.test_loop)

    @staticmethod
    def _check(runner: Runner, loop: BaseLoop) -> None:
        if all(isinstance(metric, DumpResults) for metric in loop.evaluator.metrics):
            return
        check_labels(loop.dataloader.dataset, runner.model)
        for training in built(runner._train_loop):
            check_names(by_name.names(training.dataloader.dataset), loop, 'the data to train on')

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        self._check_network(runner, checkpoint)
        classes = classes_of(checkpoint)
        if built(runner._train_loop) and not runner._resume:
            return
        for loop in built(runner._train_loop) or built(runner._val_loop, runner._test_loop):
            check_names(classes, loop, 'the checkpoint')

    def _check_network(self, runner: Runner, checkpoint: dict) -> None:
        ours = own_weights(runner.model)
        if not ours:
            return
        checkpoint['state_dict'] = keys.like(ours, checkpoint.get('state_dict', checkpoint))
        theirs = with_network(checkpoint, images=False)['state_dict']  # which are compared here
        training = isinstance(runner._train_loop, BaseLoop)  # built by then; a test leaves the config's as it is
        if training and not runner._resume:
            others = [k for k in theirs if not k.startswith(BACKBONE) and k in ours]
            for key in [k for k in others if theirs[k].shape != ours[k].shape]:
                runner.logger.warning(
                    f'{key} is trained anew: the checkpoint has {tuple(theirs.pop(key).shape)}, '
                    f'the model {tuple(ours[key].shape)}'
                )
            classes = by_name.names(runner.train_dataloader.dataset), classes_of(checkpoint)
            follow_names(theirs, *classes, runner.logger.warning)
            found = misfits(of_backbone(ours), of_backbone(theirs), adapted=[BACKBONE + FIRST_CONV])
        else:
            found = misfits(ours, theirs) or contradictions(network(runner.cfg), network_of(checkpoint))
        found = found or self._images(runner, checkpoint, training)
        if found:
            raise ValueError(
                f'checkpoint does not fit the model: {found}. '
                f'The model is {describe(runner.cfg)}, the checkpoint is {architecture(checkpoint)}'
            )

    @staticmethod
    def _images(runner: Runner, checkpoint: dict, training: bool) -> str:
        """In what the images and labels differ that the two networks are made for, or nothing where that may be."""
        asked, said = showing.of_settings(runner.cfg), images_of(checkpoint)
        if training and not runner._resume:
            if found := showing.contradictions(asked, said, left_out=['exclusive']):
                runner.logger.warning(f'images are not as the checkpoint knows them: {found}')
        elif found := showing.contradictions(asked, said):
            return found
        elif not training and (found := showing.shown_otherwise(asked, said)):
            runner.logger.warning(f'images are not shown as the checkpoint says: {found}')
        return ''


def built(*loops: Any) -> list[BaseLoop]:
    """Those that are no configs: one whose turn has not come is left as it is."""
    return [loop for loop in loops if isinstance(loop, BaseLoop)]


def check_names(classes: Sequence[str], loop: BaseLoop, of: str) -> None:
    """Make sure that a loop's data have these classes in this order, where both sides say theirs."""
    found = by_name.names(loop.dataloader.dataset)
    if classes and found and tuple(classes) != found:
        other = next((name for name in (*found, *classes) if name not in classes or name not in found), None)
        reason = 'the order differs' if other is None else f'{other!r} is not on both sides'
        raise ValueError(
            f'the classes of {by_name.place(loop.dataloader.dataset)} ({by_name.listed(found)}) are not those of {of} '
            f"({by_name.listed(classes)}): {reason}; set the data set's metainfo.classes to them"
        )


def check_start(model: Mapping[str, Any], dataset: Any) -> None:
    """Make sure that the weights of a whole model, from its `init_cfg`, have classes in the order of the data.

    Other classes of the same number are a warning.

    Raises:
        ValueError: The order differs; the sentence has both.
    """
    start = model.get('init_cfg') or {}
    if not isinstance(start, Mapping) or start.get('type') != 'Pretrained' or start.get('prefix'):
        return
    theirs = classes_of(CheckpointLoader.load_checkpoint(start['checkpoint'], 'cpu', 'silent'))
    ours = by_name.names(dataset)
    if ours != theirs and sorted(ours) == sorted(theirs):
        raise ValueError(
            f'model.init_cfg.checkpoint={start["checkpoint"]!r} has the classes {by_name.listed(theirs)}, and '
            f'{by_name.place(dataset)} has them in the order {by_name.listed(ours)}: start from it by '
            '--cfg-options load_from=PATH, by which they follow their names'
        )
    if ours != theirs and len(ours) == len(theirs):
        print_log(
            f'the classifier starts from rows of other classes, {by_name.listed(theirs)}, by model.init_cfg.checkpoint='
            f'{start["checkpoint"]!r}: by load_from it would be trained anew',
            logger='current',
            level=logging.WARNING,
        )


def check_labels(dataset: Any, model: nn.Module) -> None:
    """Make sure that images have labels where a head is to tell them, and heads enough classes for them."""
    if not any(heads(model)):
        return
    if not by_name.labelled(dataset):
        raise ValueError(
            f'{by_name.place(dataset)} has no labels (with_label=False): nothing can be trained or measured on it'
        )
    metainfo = getattr(dataset, 'metainfo', None) or {}
    least = 0 if metainfo.get('classes') else by_name.highest_label(dataset) + 1
    check_classes(metainfo, model, more=True, least=least)


def follow_names(
    state: dict[str, Tensor], ours: Sequence[str], theirs: Sequence[str], warn: Callable[[str], Any]
) -> None:
    """Have a classifier's rows follow the names of its classes, or leave them out where the names are others.

    Args:
        state: Weights of a checkpoint; changed.
        ours: Classes to train on.
        theirs: Classes of the checkpoint.
        warn: Takes a line that says what was done.
    """
    rows = [key for key, value in state.items() if key.startswith(CLASSIFIER) and len(value) == len(theirs)]
    if not rows or not ours or tuple(ours) == tuple(theirs):
        return
    same = sorted(ours) == sorted(theirs)
    for key in rows:
        value = state.pop(key)
        if same:
            state[key] = value[[list(theirs).index(name) for name in ours]]
    done = 'follow the names of the classes, whose order differs' if same else 'are trained anew'
    lists = f"the checkpoint's classes are {by_name.listed(theirs)}, the data's {by_name.listed(ours)}"
    warn(f'{", ".join(rows)} {done}: {lists}')


def of_backbone(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if key.startswith(BACKBONE)}


def own_weights(model: nn.Module) -> dict[str, Tensor]:
    """The model's weights; where each process holds a part of them, the first process gets all and the others none."""
    from torch.distributed.fsdp import FullyShardedDataParallel

    sharded = isinstance(model, FullyShardedDataParallel)
    return model.state_dict() if sharded else unwrapped(model).state_dict()


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside wrappers for distributed training and for test-time augmentation."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model
