"""Attention-92 on CIFAR-10 held on the device, from image files: 15 epochs that begin with small images.

Command: python tools/train.py configs/ranet/att92_cifar10-folder-device_progressive.py
Needs:   data/cifar10_folder/{train,test}/<class>/<image>.
Cost:    1.6 times the time of att56_cifar10-folder-device_progressive.py, whose header also gives a command for two
         cores; 1,089 M multiply-adds an image at 32 pixels, 15 epochs of 50,000 images.
"""

_base_ = './att56_cifar10-folder-device_progressive.py'

model = dict(backbone=dict(arch='attention92_cifar'))
