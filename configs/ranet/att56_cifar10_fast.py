"""Attention-56 on CIFAR-10, the most from 20 epochs.

Command: python tools/train.py configs/ranet/att56_cifar10_fast.py
Needs:   170 MB, downloaded to data/cifar10 on first use.
Cost:    20 epochs of 45,000 images, 694 M multiply-adds an image.
"""

_base_ = './att56_cifar10.py'

# The most from 20 epochs: a large rate, up for a quarter of the time and then down to zero, label smoothing, and no
# decay of what normalizes or shifts. Batch, rate and shape are David Page's, "How to train your ResNet" (2018).
model = dict(head=dict(loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1)))
train_dataloader = dict(batch_size=512)
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.4, momentum=0.9, weight_decay=5e-4, nesterov=True),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=True, begin=0, end=5, convert_to_iter_based=True),
    dict(type='LinearLR', start_factor=1.0, end_factor=0.0, by_epoch=True, begin=5, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=20, val_interval=4)
auto_scale_lr = dict(base_batch_size=512)
