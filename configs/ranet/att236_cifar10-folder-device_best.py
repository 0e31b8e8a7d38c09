"""Attention-236 on CIFAR-10 held on the GPU, from image files, the most from 300 epochs.

Command: python tools/train.py configs/ranet/att236_cifar10-folder-device_best.py
Needs:   data/cifar10_folder/{train,test}/<class>/<image>; a GPU.
Cost:    300 epochs of 45,000 images, 2,568 M multiply-adds an image.
"""

_base_ = './att56_cifar10-folder-device_best.py'

model = dict(backbone=dict(arch='attention236_cifar'))
