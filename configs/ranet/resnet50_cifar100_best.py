"""ResNet-50 on CIFAR-100, the most from 300 epochs.

Command: python tools/train.py configs/ranet/resnet50_cifar100_best.py
Needs:   169 MB, downloaded to data/cifar100 on first use.
Cost:    300 epochs of 45,000 images, 1,298 M multiply-adds an image.
"""

_base_ = './att56_cifar100_best.py'

resnet50 = dict(_delete_=True, type='ResNet_CIFAR', depth=50, num_stages=4, out_indices=(3,), style='pytorch')
model = dict(backbone=resnet50, neck=dict(_delete_=True, type='GlobalAveragePooling'), head=dict(in_channels=2048))
