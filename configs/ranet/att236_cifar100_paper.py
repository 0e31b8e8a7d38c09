"""Attention-236 on CIFAR-100, as the paper trains it.

Command: python tools/train.py configs/ranet/att236_cifar100_paper.py
Needs:   169 MB, downloaded to data/cifar100 on first use.
Cost:    205 epochs of 45,000 images, 2,568 M multiply-adds an image.
"""

_base_ = './att92_cifar100_paper.py'

model = dict(backbone=dict(arch='attention236_cifar'))
