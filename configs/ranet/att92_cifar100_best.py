"""Attention-92 on CIFAR-100, the most from 300 epochs.

Command: python tools/train.py configs/ranet/att92_cifar100_best.py
Needs:   169 MB, downloaded to data/cifar100 on first use.
Cost:    300 epochs of 45,000 images, 1,089 M multiply-adds an image.
"""

_base_ = './att56_cifar100_best.py'

model = dict(backbone=dict(arch='attention92_cifar'))
