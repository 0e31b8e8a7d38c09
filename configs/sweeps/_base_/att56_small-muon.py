"""The small-scale study's Attention-56 with Muon for the kernels of convolutions.

Command: python tools/sweep.py configs/sweeps/small/*.yml
Needs:   data/cifar10_folder/train/<class>/<image>; the test images are not read.
Cost:    about a minute on one CPU core.
"""

_base_ = './att56_small.py'

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='ranet_mm.RelativeMuon', lr=0.02, sgd_ratio=2.5, weight_decay=5e-4)
)
