"""Attention-56 on CIFAR-10 as image files held on the GPU, the report's 20 epochs with Adam.

Command: python tools/sweep.py configs/sweeps/gpu/03_table2-adam.yml
Needs:   data/cifar10_folder/{train,test}/<class>/<image>; a GPU.
Cost:    20 epochs of 45,000 images, 694 M multiply-adds an image.
"""

_base_ = [
    '../../_base_/models/att56_cifar.py',
    '../../_base_/datasets/cifar10_folder_device.py',
    '../../_base_/schedules/report.py',
    '../../_base_/default_runtime.py',
]

train_dataloader = dict(dataset=dict(cache='data/cache'))
val_dataloader = dict(dataset=dict(cache='data/cache'))
