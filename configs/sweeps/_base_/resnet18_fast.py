"""ResNet-18 on CIFAR-10 as image files held on the GPU, the most from 20 epochs.

Command: python tools/sweep.py configs/sweeps/gpu/01_fast.yml
Needs:   data/cifar10_folder/{train,test}/<class>/<image>; a GPU.
Cost:    20 epochs of 45,000 images, 556 M multiply-adds an image.
"""

_base_ = './att56_fast.py'

model = dict(
    backbone=dict(_delete_=True, type='ResNet_CIFAR', depth=18, num_stages=4, out_indices=(3,), style='pytorch'),
    neck=dict(_delete_=True, type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', in_channels=512),
)
