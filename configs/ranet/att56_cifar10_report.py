"""Attention-56 on CIFAR-10, the report's 20 epochs with Adam.

Command: python tools/train.py configs/ranet/att56_cifar10_report.py
Needs:   170 MB, downloaded to data/cifar10 on first use.
Cost:    20 epochs of 45,000 images, 694 M multiply-adds an image.
"""

_base_ = './att56_cifar10.py'

# The report's setting made to work: Adam and at most 20 epochs, its rate lowered after some of them.
optim_wrapper = dict(optimizer=dict(_delete_=True, type='Adam', lr=1e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=True, begin=0, end=1, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=1, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=20)
