"""Small data sets on the device: one uint8 tensor, from which batches are cropped, flipped and mixed there.

    DeviceDataset -> indices, with EpochSampler's seed and epoch -> DevicePreprocessor -> pictures and labels

A picture depends on (seed, epoch, sample) alone: not on the batch it is in, the device, the number of processes, or
whether the run was resumed.
"""

from ..switches import on_device
from .dataset import DeviceDataset, EpochSampler
from .preprocessor import DevicePreprocessor

__all__ = ['DeviceDataset', 'DevicePreprocessor', 'EpochSampler', 'on_device']
