"""ResNet-18 on CIFAR-10 as image files held on the GPU, the most from 300 epochs.

Command: python tools/sweep.py configs/sweeps/gpu/12_best.yml
Needs:   data/cifar10_folder/{train,test}/<class>/<image>; a GPU.
Cost:    300 epochs of 50,000 images, 556 M multiply-adds an image.
"""

_base_ = './att56_best.py'

model = dict(
    backbone=dict(_delete_=True, type='ResNet_CIFAR', depth=18, num_stages=4, out_indices=(3,), style='pytorch'),
    neck=dict(_delete_=True, type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', in_channels=512),
)
