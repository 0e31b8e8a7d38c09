# Images of shapes in the layout of COCO, written by `ranet make-shapes data/shapes`.
_base_ = '../../_base_/shapes_runtime.py'

default_scope = 'mmdet'
visualizer = dict(type='DetLocalVisualizer')
default_hooks = dict(
    checkpoint=dict(save_best='coco/bbox_mAP_50', rule='greater'),
    visualization=dict(_delete_=True, type='DetVisualizationHook'),
)
data_root = 'data/shapes/coco/'
metainfo = dict(classes=('circle', 'square', 'triangle'), palette=[(220, 60, 60), (60, 160, 60), (60, 90, 220)])
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale=(64, 64), keep_ratio=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
data = dict(type='CocoDataset', data_root=data_root, metainfo=metainfo)
evaluation = dict(batch_size=10, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False))

train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        **data,
        ann_file='annotations/instances_train2017.json',
        data_prefix=dict(img='train2017/'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    **evaluation,
    dataset=dict(
        **data,
        ann_file='annotations/instances_val2017.json',
        data_prefix=dict(img='val2017/'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = dict(
    **evaluation,
    dataset=dict(
        **data,
        ann_file='annotations/instances_test2017.json',
        data_prefix=dict(img='test2017/'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
val_evaluator = dict(type='CocoMetric', ann_file=data_root + 'annotations/instances_val2017.json', metric='bbox')
test_evaluator = dict(type='CocoMetric', ann_file=data_root + 'annotations/instances_test2017.json', metric='bbox')
