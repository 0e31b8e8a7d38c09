"""ResNet-50 on CIFAR-10, as the paper trains it.

Command: python tools/train.py configs/ranet/resnet50_cifar10_paper.py
Needs:   170 MB, downloaded to data/cifar10 on first use.
Cost:    205 epochs of 45,000 images, 1,298 M multiply-adds an image.
"""

_base_ = './att56_cifar10_paper.py'

model = dict(
    backbone=dict(_delete_=True, type='ResNet_CIFAR', depth=50, num_stages=4, out_indices=(3,), style='pytorch'),
    neck=dict(_delete_=True, type='GlobalAveragePooling'),
    head=dict(in_channels=2048),
)
