"""ResNet-18 beside the small-scale study's networks: the same data and recipe, 16 to 128 channels.

Command: ranet sweep configs/sweeps/small/*.yml
Needs:   data/cifar10_folder/train/<class>/<image>; the test images are not read.
Cost:    about a minute on one CPU core.
"""

_base_ = './att56_small.py'

model = dict(
    backbone=dict(
        _delete_=True, type='ResNet_CIFAR', depth=18, base_channels=16, stem_channels=16, strides=(2, 2, 2, 2)
    ),
    neck=dict(_delete_=True, type='GlobalAveragePooling'),
    head=dict(_delete_=True, type='LinearClsHead', num_classes=10, in_channels=128),
)
