"""Attention-128 on CIFAR-10, as the paper trains it.

Command: python tools/train.py configs/ranet/att128_cifar10_paper.py
Needs:   170 MB, downloaded to data/cifar10 on first use.
Cost:    205 epochs of 45,000 images, 1,444 M multiply-adds an image.
"""

_base_ = './att56_cifar10_paper.py'

model = dict(backbone=dict(arch='attention128_cifar'))
