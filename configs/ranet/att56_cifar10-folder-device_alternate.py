"""Attention-56 on CIFAR-10 held on the device, from image files: `progressive` with larger images, mirrored in turns.

Command: python tools/train.py configs/ranet/att56_cifar10-folder-device_alternate.py
Needs:   data/cifar10_folder/{train,test}/<class>/<image>.
Cost:    1.2 times that of att56_cifar10-folder-device_progressive.py, whose header also gives a command for two cores;
         15 epochs of 50,000 images.
"""

_base_ = './att56_cifar10-folder-device_progressive.py'

load, crop, _, pack = _base_.train_pipeline
flip = dict(type='ranet_mm.AlternatingFlip')
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=[load, crop, flip, _base_.cutout, pack])))
# 8.4 epochs of full size in multiply-adds, where `progressive` takes 7.2.
custom_hooks = [*_base_.custom_hooks[:-1], {**_base_.resize, 'sizes': [(0, 16), (4, 20), (7, 24), (11, 32)]}]
