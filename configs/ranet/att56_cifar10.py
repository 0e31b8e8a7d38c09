"""Attention-56 on CIFAR-10.

Command: python tools/train.py configs/ranet/att56_cifar10.py
Needs:   170 MB, downloaded to data/cifar10 on first use.
Cost:    200 epochs of 45,000 images, 694 M multiply-adds an image.
"""

_base_ = [
    '../_base_/models/att56_cifar.py',
    '../_base_/datasets/cifar10.py',
    '../_base_/schedules/sgd_cosine.py',
    '../_base_/default_runtime.py',
]
