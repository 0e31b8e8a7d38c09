"""Attention-92 on CIFAR-10 held on the device, from image files: 1 epoch from the weights of Attention-56.

Command: python tools/train.py configs/ranet/att92_cifar10-folder-device_deepened.py
         The weights, before it: python tools/convert_checkpoint.py
         work_dirs/att56_cifar10-folder-device_progressive/epoch_15.pth work_dirs/att92_deepened.pth
         --from openmmlab --to openmmlab --arch attention56_cifar --deepen attention92_cifar
Needs:   data/cifar10_folder/{train,test}/<class>/<image>; a run of att56_cifar10-folder-device_progressive.py, whose
         header also gives a command for two cores.
Cost:    613 M multiply-adds an image at 24 pixels, 1,089 M at 32; 1 epoch of 50,000 images.
"""

_base_ = './att92_cifar10-folder-device_progressive.py'

load_from = 'work_dirs/att92_deepened.pth'
# About the rate that the run of Attention-56 had one epoch before its end.
optim_wrapper = dict(optimizer=dict(lr=0.002))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=20),
    dict(type='LinearLR', start_factor=1.0, end_factor=0.0, by_epoch=True, begin=0, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=1)
custom_hooks = [*_base_.custom_hooks[:-1], {**_base_.resize, 'sizes': [(0, 24), (0.7, 32)]}]
randomness = dict(seed=1)  # another order of the images than in the first epochs of Attention-56
