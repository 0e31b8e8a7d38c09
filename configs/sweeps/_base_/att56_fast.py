"""Attention-56 on CIFAR-10 as image files held on the GPU, the most from 20 epochs.

Command: python tools/sweep.py configs/sweeps/gpu/01_fast.yml
Needs:   data/cifar10_folder/{train,test}/<class>/<image>; a GPU.
Cost:    20 epochs of 45,000 images, 694 M multiply-adds an image.
"""

_base_ = [
    '../../_base_/models/att56_cifar.py',
    '../../_base_/datasets/cifar10_folder_device.py',
    '../../_base_/schedules/fast.py',
    '../../_base_/default_runtime.py',
]

model = dict(head=dict(loss=_base_.loss))
train_dataloader = dict(batch_size=_base_.batch_size, dataset=dict(cache='data/cache'))
val_dataloader = dict(dataset=dict(cache='data/cache'))
