"""Attention-56 on CIFAR-10 as image files held on the GPU, the most from 300 epochs.

Command: python tools/sweep.py configs/sweeps/gpu/12_best.yml
Needs:   data/cifar10_folder/{train,test}/<class>/<image>; a GPU.
Cost:    300 epochs of 50,000 images, 694 M multiply-adds an image.
"""

_base_ = [
    '../../_base_/models/att56_cifar.py',
    '../../_base_/datasets/cifar10_folder_device.py',
    '../../_base_/schedules/best.py',
    '../../_base_/default_runtime.py',
]

model = dict(head=dict(loss=_base_.loss))
data_preprocessor = dict(batch_augments=_base_.mixing)
pipeline = [*_base_.train_pipeline[:-1], _base_.strong_pipeline[-2], _base_.train_pipeline[-1]]  # with RandomErasing
# Every training image is trained on, so none is left to validate on.
train_dataloader = dict(
    batch_size=_base_.batch_size, dataset=dict(cache='data/cache', dataset=dict(holdout=0, pipeline=pipeline))
)
val_cfg = val_dataloader = val_evaluator = None
custom_hooks = [*_base_.custom_hooks, _base_.ema]
