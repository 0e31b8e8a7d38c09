"""The small-scale study's Attention-56 with Adam at a constant rate, as in the report, or lowered after some epochs.

Command: ranet sweep configs/sweeps/small/*.yml
Needs:   data/cifar10_folder/train/<class>/<image>; the test images are not read.
Cost:    about a minute on one CPU core.
"""

_base_ = './att56_small.py'

optim_wrapper = dict(optimizer=dict(_delete_=True, type='Adam', lr=1e-3))
param_scheduler = [dict(type='MultiStepLR', milestones=[1000], gamma=0.1)]
