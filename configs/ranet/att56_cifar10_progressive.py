"""Attention-56 on CIFAR-10 held on the device: 15 epochs that begin with small images.

Command: python tools/train.py configs/ranet/att56_cifar10_progressive.py
         Two CPU cores are used best by two processes of one thread:
         tools/dist_train.sh configs/ranet/att56_cifar10_progressive.py 2 --cfg-options train_dataloader.batch_size=128
Needs:   170 MB, downloaded to data/cifar10 on first use.
Cost:    about 100 minutes on two CPU cores that compute in bfloat16;
         174 M multiply-adds an image at 16 pixels, 271 M at 20, 391 M at 24, 694 M at 32; 15 epochs of 50,000 images.
"""

_base_ = './att56_cifar10.py'

# The most from 15 epochs where time is scarce, as on a CPU: small images first, which cost a quarter, and Muon, at the
# rate that was best in the small-scale study. Cutout of 8 x 8 pixels is from David Page, "How to train your ResNet"
# (2018). No image is held out of training.
on_device = True
holdout = 0
cutout = dict(type='Cutout', shape=8, pad_val=[125, 123, 114], prob=1.0)
model = dict(head=dict(loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1)))
train_dataloader = dict(
    batch_size=256,
    dataset=dict(holdout=0, pipeline=[*_base_.crop_and_flip, cutout, dict(type='PackInputs')]),
)
val_dataloader = None
val_cfg = None
val_evaluator = None
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='ranet_mm.Muon', lr=0.02, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=True, begin=0, end=1, convert_to_iter_based=True),
    dict(type='LinearLR', start_factor=1.0, end_factor=0.0, by_epoch=True, begin=1, convert_to_iter_based=True),
]
runtime_hooks = _base_.custom_hooks
custom_hooks = [
    *runtime_hooks,
    dict(type='ranet_mm.ProgressiveResizeHook', sizes=[(0, 16), (6, 20), (9, 24), (12.5, 32)]),
]
default_hooks = dict(checkpoint=dict(save_best=None))
train_cfg = dict(_delete_=True, type='ranet_mm.ResumableTrainLoop', max_epochs=15)
auto_scale_lr = dict(base_batch_size=256)
