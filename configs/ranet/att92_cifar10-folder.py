"""Attention-92 on CIFAR-10 as image files.

Command: python tools/train.py configs/ranet/att92_cifar10-folder.py
Needs:   data/cifar10_folder/{train,test}/<class>/<image>.
Cost:    200 epochs of 45,000 images, 1,089 M multiply-adds an image.
"""

_base_ = './att56_cifar10-folder.py'

model = dict(backbone=dict(arch='attention92_cifar'))
