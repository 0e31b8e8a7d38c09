"""Attention-92 on CIFAR-10 held on the device: 3 epochs from the weights of Attention-56.

Command: python tools/train.py configs/ranet/att92_cifar10_annealed.py
         The weights, before it: ranet convert work_dirs/att56_cifar10_alternate/epoch_15.pth
         work_dirs/att92_annealed.pth --from openmmlab --to openmmlab --arch attention56_cifar
         --deepen attention92_cifar
Needs:   170 MB, downloaded to data/cifar10 on first use; a run of att56_cifar10_alternate.py.
Cost:    1,089 M multiply-adds an image; 3 epochs of 50,000 images.
"""

_base_ = './att56_cifar10_alternate.py'

model = dict(backbone=dict(arch='attention92_cifar'))
load_from = 'work_dirs/att92_annealed.pth'
# About the rate that the run of Attention-56 had three epochs before its end.
optim_wrapper = dict(optimizer=dict(lr=0.004))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=20),
    dict(type='LinearLR', start_factor=1.0, end_factor=0.0, by_epoch=True, begin=0, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=3)
custom_hooks = _base_.runtime_hooks  # full size from the start
randomness = dict(seed=1)  # another order of the images than in the first epochs of Attention-56
