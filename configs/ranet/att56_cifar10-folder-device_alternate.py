"""Attention-56 on CIFAR-10 held on the device, from image files: `progressive` with larger images, mirrored in turns.

Command: python tools/train.py configs/ranet/att56_cifar10-folder-device_alternate.py
         Two CPU cores are used best by two processes of one thread:
         tools/dist_train.sh configs/ranet/att56_cifar10-folder-device_alternate.py 2 --cfg-options
         train_dataloader.batch_size=128
Needs:   data/cifar10_folder/{train,test}/<class>/<image>.
Cost:    about 120 minutes on two CPU cores that compute in bfloat16;
         174 M multiply-adds an image at 16 pixels, 271 M at 20, 391 M at 24, 694 M at 32; 15 epochs of 50,000 images.
"""

_base_ = './att56_cifar10-folder-device_progressive.py'

load, crop, _, pack = _base_.train_pipeline
flip = dict(type='ranet_mm.AlternatingFlip')
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=[load, crop, flip, _base_.cutout, pack])))
# 8.4 epochs of full size in multiply-adds, where `progressive` takes 7.2.
custom_hooks = [*_base_.custom_hooks[:-1], {**_base_.resize, 'sizes': [(0, 16), (4, 20), (7, 24), (11, 32)]}]
