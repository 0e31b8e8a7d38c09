# Images of shapes in the layout of ADE20K, written by `ranet make-shapes data/shapes`.
_base_ = '../../_base_/shapes_runtime.py'

default_scope = 'mmseg'
visualizer = dict(type='SegLocalVisualizer')
default_hooks = dict(
    checkpoint=dict(save_best='mIoU', rule='greater'), visualization=dict(_delete_=True, type='SegVisualizationHook')
)
metainfo = dict(
    classes=('background', 'circle', 'square', 'triangle'),
    palette=[[128, 128, 128], [220, 60, 60], [60, 160, 60], [60, 90, 220]],
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
flips = [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='TestTimeAug', transforms=[flips, [dict(type='LoadAnnotations')], [dict(type='PackSegInputs')]]),
]
tta_model = dict(type='SegTTAModel')
data = dict(type='BaseSegDataset', data_root='data/shapes/ade', metainfo=metainfo, reduce_zero_label=True)
evaluation = dict(batch_size=10, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False))

train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        **data,
        data_prefix=dict(img_path='images/training', seg_map_path='annotations/training'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    **evaluation,
    dataset=dict(
        **data,
        data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = dict(
    **evaluation,
    dataset=dict(
        **data, data_prefix=dict(img_path='images/test', seg_map_path='annotations/test'), pipeline=test_pipeline
    ),
)
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
