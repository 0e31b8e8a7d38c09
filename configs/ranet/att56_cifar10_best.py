"""Attention-56 on CIFAR-10, the most from 300 epochs.

Command: python tools/train.py configs/ranet/att56_cifar10_best.py
Needs:   170 MB, downloaded to data/cifar10 on first use.
Cost:    300 epochs of 45,000 images, 694 M multiply-adds an image.
"""

_base_ = './att56_cifar10.py'

# 300 epochs against overfitting: half of the batches cut and mixed, as the CutMix paper does (arXiv:1905.04899), a
# quarter mixed up (arXiv:1710.09412), label smoothing, and a moving average of the weights over 2,000 iterations.
model = dict(head=dict(loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1)))
data_preprocessor = dict(
    batch_augments=dict(augments=[dict(type='Mixup', alpha=0.2), dict(type='CutMix', alpha=1.0)], probs=[0.25, 0.5]),
    to_onehot=True,
)
train_dataloader = dict(batch_size=256, dataset=dict(pipeline=_base_.strong_pipeline))
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.2, momentum=0.9, weight_decay=5e-4, nesterov=True),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=True, begin=0, end=5, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=5, convert_to_iter_based=True),
]
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='EMAHook', ema_type='ranet_mm.ExponentialMovingAverage', momentum=5e-4, update_buffers=True),
]
train_cfg = dict(max_epochs=300, val_interval=5)
auto_scale_lr = dict(base_batch_size=256)
