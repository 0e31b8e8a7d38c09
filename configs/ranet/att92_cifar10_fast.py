"""Attention-92 on CIFAR-10, the most from 20 epochs.

Command: python tools/train.py configs/ranet/att92_cifar10_fast.py
Needs:   170 MB, downloaded to data/cifar10 on first use.
Cost:    20 epochs of 45,000 images, 1,089 M multiply-adds an image.
"""

_base_ = './att56_cifar10_fast.py'

model = dict(backbone=dict(arch='attention92_cifar'))
