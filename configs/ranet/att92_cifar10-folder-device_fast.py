"""Attention-92 on CIFAR-10 held on the GPU, from image files, the most from 20 epochs.

Command: python tools/train.py configs/ranet/att92_cifar10-folder-device_fast.py
Needs:   data/cifar10_folder/{train,test}/<class>/<image>; a GPU.
Cost:    20 epochs of 45,000 images, 1,089 M multiply-adds an image.
"""

_base_ = './att56_cifar10-folder-device_fast.py'

model = dict(backbone=dict(arch='attention92_cifar'))
