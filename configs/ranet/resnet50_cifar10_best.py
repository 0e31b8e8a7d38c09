"""ResNet-50 on CIFAR-10, the most from 300 epochs.

Command: python tools/train.py configs/ranet/resnet50_cifar10_best.py
Needs:   170 MB, downloaded to data/cifar10 on first use.
Cost:    300 epochs of 45,000 images, 1,298 M multiply-adds an image.
"""

_base_ = './resnet18_cifar10_best.py'

model = dict(backbone=dict(depth=50), head=dict(in_channels=2048))
