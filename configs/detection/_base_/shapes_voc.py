# Images of shapes in the layout of PASCAL VOC, which has no masks of single objects; from ranet make-shapes.
_base_ = './shapes.py'

default_hooks = dict(checkpoint=dict(save_best='pascal_voc/mAP'))
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(64, 64), keep_ratio=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
layout = dict(
    _delete_=True,
    type='VOCDataset',
    data_root='data/shapes/VOCdevkit/',
    data_prefix=dict(sub_data_root='VOC2012/'),
    metainfo=_base_.metainfo,
)
train_dataloader = dict(dataset=dict(**layout, ann_file='VOC2012/ImageSets/Main/train.txt', pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(**layout, ann_file='VOC2012/ImageSets/Main/val.txt', test_mode=True, pipeline=test_pipeline)
)
test_dataloader = dict(
    dataset=dict(**layout, ann_file='VOC2012/ImageSets/Main/test.txt', test_mode=True, pipeline=test_pipeline)
)
val_evaluator = dict(_delete_=True, type='VOCMetric', metric='mAP', eval_mode='area')
test_evaluator = val_evaluator
