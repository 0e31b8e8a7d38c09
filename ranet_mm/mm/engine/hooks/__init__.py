"""What `ranet_mm.registry.HOOKS` offers, one file each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.hooks import Hook

from ....registry import HOOKS
from .channels_last import ChannelsLastHook
from .checkpoint import CheckpointHook
from .checkpoint_guard import CheckpointGuardHook
from .data_guard import DataGuardHook
from .final_test import FinalTestHook
from .gradient_norm import GradientNormHook
from .interrupt import InterruptHook
from .mask_visualization import MaskVisualizationHook
from .progress import ProgressHook
from .progressive_resize import ProgressiveResizeHook
from .record import RecordHook
from .runtime import RuntimeHook
from .runtime_info import RuntimeInfoHook

__all__ = [
    'ChannelsLastHook', 'CheckpointGuardHook', 'CheckpointHook', 'DataGuardHook', 'FinalTestHook', 'GradientNormHook',
    'InterruptHook', 'MaskVisualizationHook', 'ProgressHook', 'ProgressiveResizeHook', 'RecordHook', 'RuntimeHook',
    'RuntimeInfoHook',
]  # fmt: skip


def hook_type(entry: Mapping[str, Any] | Hook) -> type:
    """The class of an entry of `custom_hooks`: a hook, or a config with its name or itself."""
    kind = type(entry) if isinstance(entry, Hook) else entry['type']
    return HOOKS.get(kind) if isinstance(kind, str) else kind
