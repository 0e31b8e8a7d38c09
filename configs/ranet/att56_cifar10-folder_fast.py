"""Attention-56 on CIFAR-10 as image files: 8 epochs that begin with small images.

Command: python tools/train.py configs/ranet/att56_cifar10-folder_fast.py
         Two cores are used best by two processes of one thread, 1.2 times as fast at 16 pixels, 1.4 at 24:
         tools/dist_train.sh configs/ranet/att56_cifar10-folder_fast.py 2 --cfg-options train_dataloader.batch_size=64
Needs:   data/cifar10_folder/{train,test}/<class>/<image>; another folder by --cfg-options
         train_dataloader.dataset.root=... test_dataloader.dataset.root=...
Cost:    8 epochs of 50,000 images; 174 M multiply-adds an image at 16 pixels, 271 M at 20, 391 M at 24, 694 M at 32.
"""

_base_ = [
    '../_base_/models/att56_cifar.py',
    '../_base_/datasets/cifar10_folder.py',
    '../_base_/schedules/sgd_cosine.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1)))
optim_wrapper = dict(paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.0025, by_epoch=False, begin=0, end=400),
    dict(type='LinearLR', start_factor=1.0, end_factor=0.0, by_epoch=True, begin=3, end=8, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=8)
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ranet_mm.ProgressiveResizeHook', sizes=[(0, 16), (4, 20), (5, 24), (7.6, 32)]),
]

# Every training image is trained on.
holdout = 0
train_dataloader = dict(dataset=dict(holdout=0))
val_cfg = None
val_dataloader = None
val_evaluator = None
