"""ResNet-18 on CIFAR-10, the most from 20 epochs.

Command: python tools/train.py configs/ranet/resnet18_cifar10_fast.py
Needs:   170 MB, downloaded to data/cifar10 on first use.
Cost:    20 epochs of 45,000 images, 555 M multiply-adds an image.
"""

_base_ = [
    '../_base_/models/resnet18_cifar.py',
    '../_base_/datasets/cifar10.py',
    '../_base_/schedules/fast.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(loss=_base_.loss))
train_dataloader = dict(batch_size=_base_.batch_size)
