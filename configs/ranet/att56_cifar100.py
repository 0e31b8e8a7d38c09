"""Attention-56 on CIFAR-100.

Command: python tools/train.py configs/ranet/att56_cifar100.py
Needs:   169 MB, downloaded to data/cifar100 on first use.
Cost:    200 epochs of 45,000 images, 694 M multiply-adds an image.
"""

_base_ = [
    '../_base_/models/att56_cifar.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/sgd_cosine.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(num_classes=100))
