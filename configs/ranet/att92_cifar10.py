"""Attention-92 on CIFAR-10, from the original archive.

Command: python tools/train.py configs/ranet/att92_cifar10.py
Needs:   170 MB, downloaded to data/cifar10 on first use; a GPU, or much patience.
Cost:    200 epochs of 50,000 images, 1,089 M multiply-adds an image.
"""

_base_ = ['../_base_/att92_cifar.py', '../_base_/datasets/cifar10.py']
