"""Attention-56 on CIFAR-10 held on the device, from image files: `progressive` with larger images, mirrored in turns.

Command: python tools/train.py configs/ranet/att56_cifar10-folder-device_alternate.py
Needs:   data/cifar10_folder/{train,test}/<class>/<image>.
Cost:    1.2 times that of att56_cifar10-folder-device_progressive.py, whose header also gives a command for two cores;
         15 epochs of 50,000 images.
"""

_base_ = ['../_base_/models/att56_cifar.py', '../_base_/recipes/alternate.py']

model = dict(head=dict(loss=_base_.loss))
