"""ResNet-18 on CIFAR-10, the most from 300 epochs.

Command: python tools/train.py configs/ranet/resnet18_cifar10_best.py
Needs:   170 MB, downloaded to data/cifar10 on first use.
Cost:    300 epochs of 45,000 images, 555 M multiply-adds an image.
"""

_base_ = './att56_cifar10_best.py'

model = dict(
    backbone=dict(_delete_=True, type='ResNet_CIFAR', depth=18, num_stages=4, out_indices=(3,), style='pytorch'),
    neck=dict(_delete_=True, type='GlobalAveragePooling'),
    head=dict(in_channels=512),
)
