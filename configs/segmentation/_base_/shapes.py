# Images of shapes in the layout of ADE20K, as `python tools/make_shapes.py` writes them, and how a small run goes.
_base_ = '../../_base_/default_runtime.py'

default_scope = 'mmseg'
visualizer = dict(type='SegLocalVisualizer')
default_hooks = dict(
    checkpoint=dict(save_best='mIoU', rule='greater'), visualization=dict(_delete_=True, type='SegVisualizationHook')
)

classes = ('background', 'circle', 'square', 'triangle')
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(type='PackSegInputs'),
]
dataset = dict(
    type='BaseSegDataset',
    reduce_zero_label=True,
    data_root='data/shapes/ade',
    metainfo=dict(classes=classes, palette=[[128, 128, 128], [220, 60, 60], [60, 160, 60], [60, 90, 220]]),
)
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        **dataset,
        data_prefix=dict(img_path='images/training', seg_map_path='annotations/training'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        **dataset,
        data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator

optim_wrapper = dict(
    type='ranet_mm.AutoAmpOptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.01)
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=38),  # one epoch
    dict(type='CosineAnnealingLR', by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(type='ranet_mm.ResumableTrainLoop', max_epochs=20, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
