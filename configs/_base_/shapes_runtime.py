# How the small runs on images of shapes go.
_base_ = './default_runtime.py'

custom_hooks = [
    dict(type='ranet_mm.ChannelsLastHook'),
    dict(type='ranet_mm.CheckpointGuardHook'),
    dict(type='ranet_mm.DataGuardHook'),
    dict(type='ranet_mm.RecordHook'),
    dict(type='ranet_mm.InterruptHook'),
    dict(type='ranet_mm.ProgressHook'),
]
optim_wrapper = dict(
    type='ranet_mm.AutoAmpOptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.01),
    clip_grad=dict(max_norm=10),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=38),  # one epoch
    dict(type='CosineAnnealingLR', by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(type='ranet_mm.ResumableTrainLoop', max_epochs=20, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
