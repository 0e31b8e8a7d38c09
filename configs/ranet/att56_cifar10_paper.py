"""Attention-56 on CIFAR-10, as the paper trains it.

Command: python tools/train.py configs/ranet/att56_cifar10_paper.py
Needs:   170 MB, downloaded to data/cifar10 on first use.
Cost:    205 epochs of 45,000 images, 694 M multiply-adds an image.
"""

_base_ = './att56_cifar10.py'

# The paper on CIFAR (section 4.1): batches of 64, 160,000 iterations, a tenth of the rate from 64,000 and 96,000 on.
# 205 epochs of 50,000 images are 160,310 iterations.
model = dict(backbone=dict(zero_init_last=False))
train_dataloader = dict(batch_size=64)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=True))
param_scheduler = dict(_delete_=True, type='MultiStepLR', by_epoch=False, milestones=[64_000, 96_000], gamma=0.1)
train_cfg = dict(max_epochs=205)
auto_scale_lr = dict(base_batch_size=64)
