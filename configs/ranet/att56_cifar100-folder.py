"""Attention-56 on CIFAR-100 as image files.

Command: python tools/train.py configs/ranet/att56_cifar100-folder.py
Needs:   data/cifar100_folder/{train,test}/<class>/<image>.
Cost:    200 epochs of 45,000 images, 694 M multiply-adds an image.
"""

_base_ = [
    '../_base_/models/att56_cifar.py',
    '../_base_/datasets/cifar100_folder.py',
    '../_base_/schedules/sgd_cosine.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(num_classes=100))
