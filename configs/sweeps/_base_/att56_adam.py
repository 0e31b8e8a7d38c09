"""Attention-56 with Adam at a constant rate, as in the report, or lowered after some epochs.

Command: ranet sweep configs/sweeps/gpu/10_adam.yml
Needs:   data/cifar10_folder/{train,test}/<class>/<image>; a GPU.
Cost:    20 epochs of 45,000 images, 694 M multiply-adds an image.
"""

_base_ = '../../ranet/att56_cifar10_report.py'

param_scheduler = [dict(type='MultiStepLR', milestones=[1000], gamma=0.1)]
