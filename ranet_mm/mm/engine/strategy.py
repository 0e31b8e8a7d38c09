"""Fully sharded training through MMEngine's `FlexibleRunner`, with current PyTorch."""

from __future__ import annotations

from typing import Any

import torch
from mmengine._strategy import FSDPStrategy as MMEngineFSDPStrategy
from torch.distributed.fsdp import FullyShardedDataParallel

from ...registry import STRATEGIES

# One file of the whole model, as from any other run. Offloading would leave tensors that are on the CPU already in
# storage that FSDP frees before they are saved: the process crashes.
ON_HOST = dict(rank0_only=True, offload_to_cpu=torch.cuda.is_available())
WHOLE = dict(
    state_dict_type='FULL_STATE_DICT',
    state_dict_config=dict(type='FullStateDictConfig', **ON_HOST),
    optim_state_dict_config=dict(type='FullOptimStateDictConfig', **ON_HOST),
)


@STRATEGIES.register_module()
class FSDPStrategy(MMEngineFSDPStrategy):
    """MMEngine's strategy, but that it resumes, runs on CPUs, and writes checkpoints that other runs read.

    MMEngine's own hands the arguments of `optim_state_dict_to_load` over in the order of PyTorch 2.0.

    Args:
        model_wrapper: Arguments of `MMFullyShardedDataParallel`.
        state_dict_cfg: As in MMEngine; the whole model in one file by default.
        **kwargs: As in MMEngine.
    """

    def __init__(
        self, *, model_wrapper: dict | None = None, state_dict_cfg: str | dict[str, Any] = WHOLE, **kwargs: Any
    ) -> None:
        wrapper = {'type': 'MMFullyShardedDataParallel', **(model_wrapper or {})}
        if not torch.cuda.is_available():
            wrapper.setdefault('device_id', 'cpu')
        super().__init__(model_wrapper=wrapper, state_dict_cfg=state_dict_cfg, **kwargs)

    def load_optim_state_dict(self, state_dict: dict) -> None:
        load = FullyShardedDataParallel.optim_state_dict_to_load
        self.optim_wrapper.load_state_dict(load(self.model, self.optim_wrapper.optimizer, state_dict))
