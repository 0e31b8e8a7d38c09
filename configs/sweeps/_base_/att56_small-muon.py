"""The small-scale study's Attention-56 with Muon for the kernels of convolutions.

Command: ranet sweep configs/sweeps/small/*.yml
Needs:   data/cifar10_folder/train/<class>/<image>; the test images are not read.
Cost:    about a minute on one CPU core.
"""

_base_ = './att56_small.py'

optim_wrapper = dict(optimizer=dict(_delete_=True, type='ranet_mm.Muon', lr=0.02, weight_decay=0.05))
