"""Attention-56 for the small-scale study: a quarter of the width, maps of a quarter of the side, 3,120 images.

Command: ranet sweep configs/sweeps/small/*.yml
Needs:   data/cifar10_folder/train/<class>/<image>; the test images are not read.
Cost:    about a minute on one CPU core.
"""

_base_ = '../../ranet/att56_cifar10.py'

model = dict(backbone=dict(width=0.25, stem_stride=2, stem_pool=True, zero_init_last=True), head=dict(in_channels=256))
train_pipeline = [dict(type='ranet_mm.LoadImage'), *_base_.train_pipeline]
# Every 16th training image of each class to train on, and 1,041 of the others to validate on.
part = dict(type='ranet_mm.ImageFolder', root='data/cifar10_folder/train', holdout=16)
train_dataloader = dict(
    batch_size=32,
    num_workers=0,
    dataset=dict(_delete_=True, **part, held_out=True, pipeline=train_pipeline),
)
val_dataloader = dict(
    num_workers=0,
    dataset=dict(
        _delete_=True,
        type='KFoldDataset',
        num_splits=45,
        seed=0,
        test_mode=True,
        dataset=dict(**part, pipeline=_base_.test_pipeline),
    ),
)
test_cfg = test_dataloader = test_evaluator = None
optim_wrapper = dict(
    _delete_=True,
    type='ranet_mm.AutoAmpOptimWrapper',
    optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=5e-4, nesterov=True),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.02, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=3)
default_hooks = dict(checkpoint=dict(save_best=None))
