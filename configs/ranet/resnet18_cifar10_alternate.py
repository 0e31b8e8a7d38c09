"""ResNet-18 on CIFAR-10 held on the device: the recipe that Attention-56's weights come from.

Command: python tools/train.py configs/ranet/resnet18_cifar10_alternate.py
         The header of att56_cifar10_progressive.py also gives a command for two cores.
Needs:   170 MB, downloaded to data/cifar10 on first use.
Cost:    555 M multiply-adds an image at 32 pixels, 15 epochs of 50,000 images.
"""

_base_ = './att56_cifar10_alternate.py'

model = dict(
    backbone=dict(_delete_=True, type='ResNet_CIFAR', depth=18, num_stages=4, out_indices=(3,), style='pytorch'),
    neck=dict(_delete_=True, type='GlobalAveragePooling'),
    head=dict(in_channels=512),
)
