"""What `ranet_mm.registry.HOOKS` offers, one file each."""

from .channels_last import ChannelsLastHook
from .checkpoint_guard import CheckpointGuardHook
from .data_guard import DataGuardHook
from .final_test import FinalTestHook
from .interrupt import InterruptHook
from .progress import ProgressHook
from .progressive_resize import ProgressiveResizeHook
from .record import RecordHook
from .runtime_info import RuntimeInfoHook

__all__ = [
    'ChannelsLastHook',
    'CheckpointGuardHook',
    'DataGuardHook',
    'FinalTestHook',
    'InterruptHook',
    'ProgressHook',
    'ProgressiveResizeHook',
    'RecordHook',
    'RuntimeInfoHook',
]
