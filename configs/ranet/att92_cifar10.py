"""Attention-92 on CIFAR-10.

Command: python tools/train.py configs/ranet/att92_cifar10.py
Needs:   170 MB, downloaded to data/cifar10 on first use.
Cost:    200 epochs of 45,000 images, 1,089 M multiply-adds an image.
"""

_base_ = './att56_cifar10.py'

model = dict(backbone=dict(arch='attention92_cifar'))
