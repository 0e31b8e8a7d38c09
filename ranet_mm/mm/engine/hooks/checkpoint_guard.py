"""Checkpoints of another network are refused."""

from __future__ import annotations

from collections.abc import Mapping

from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import BaseLoop, Runner
from torch import Tensor, nn

from ....hub import with_network
from ....registry import HOOKS
from ....weights import keys, showing
from ....weights.description import architecture, contradictions, describe, images_of, network, network_of
from ....weights.fit import misfits
from ....weights.keys import BACKBONE, FIRST_CONV


@HOOKS.register_module()
class CheckpointGuardHook(Hook):
    """Refuse a checkpoint of another network, images or labels; MMEngine only logs the first and leaves weights random.

    When training starts from a checkpoint (`load_from`), only the backbone must fit, which adapts its first convolution
    to other channels by itself: the rest is trained anew where it differs. Another normalization is a warning then, as
    is another test pipeline in testing.

    Raises:
        ValueError: Keys or shapes differ; the sentence lists the first of them and both architectures.
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
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
            found = misfits(of_backbone(ours), of_backbone(theirs), adapted=[BACKBONE + FIRST_CONV])
        else:
            found = misfits(ours, theirs) or contradictions(network(runner.cfg), network_of(checkpoint))
        found = found or self._images(runner, checkpoint, training)
        if found:
            raise ValueError(
                f'checkpoint does not fit the model: {found}. '
                f'The model is {describe(runner.cfg)}, the checkpoint is {architecture(checkpoint)}'
            )

    def _images(self, runner: Runner, checkpoint: dict, training: bool) -> str:
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
