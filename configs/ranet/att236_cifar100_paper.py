"""Attention-236 on CIFAR-100, as the paper trains it.

Command: python tools/train.py configs/ranet/att236_cifar100_paper.py
Needs:   169 MB, downloaded to data/cifar100 on first use.
Cost:    205 epochs of 45,000 images, 2,568 M multiply-adds an image.
"""

_base_ = [
    '../_base_/models/att56_cifar.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/paper_cifar.py',
    '../_base_/default_runtime.py',
]

model = dict(backbone=dict(arch='attention236_cifar', zero_init_last=False), head=dict(num_classes=100))
train_dataloader = dict(batch_size=_base_.batch_size)
