"""Small data sets on the device: one uint8 tensor, from which batches are cropped, flipped and mixed there.

    EpochSampler: indices, seed, epoch -> DeviceDataset, at_once: the same, and the decoded images they are of
        -> DevicePreprocessor: pictures and labels

A picture depends on (seed, epoch, sample) alone: not on the batch it is in, the device, the number of processes, or
whether the run was resumed.
"""

from ..switches import on_device
from .batch import EpochSampler, at_once
from .dataset import DeviceDataset
from .preprocessor import DevicePreprocessor

__all__ = ['DeviceDataset', 'DevicePreprocessor', 'EpochSampler', 'at_once', 'on_device']
