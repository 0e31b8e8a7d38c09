"""Attention-56 on CIFAR-10 held on the device, from image files: 15 epochs that begin with small images.

Command: python tools/train.py configs/ranet/att56_cifar10-folder-device_progressive.py
         Two CPU cores are used best by two processes of one thread:
         tools/dist_train.sh configs/ranet/att56_cifar10-folder-device_progressive.py 2 --cfg-options
         train_dataloader.batch_size=128
Needs:   data/cifar10_folder/{train,test}/<class>/<image>.
Cost:    about 100 minutes on two CPU cores that compute in bfloat16;
         174 M multiply-adds an image at 16 pixels, 271 M at 20, 391 M at 24, 694 M at 32; 15 epochs of 50,000 images.
"""

_base_ = ['../_base_/models/att56_cifar.py', '../_base_/recipes/progressive.py']

model = dict(head=dict(loss=_base_.loss))
