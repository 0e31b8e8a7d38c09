# RetinaNet for 64-pixel images: mmdet's, with a narrow neck and head and three levels, from stride 4 on.
_base_ = ['mmdet::_base_/models/retinanet_r50_fpn.py', '../../_base_/dense_small.py']

model = dict(
    backbone=_base_.backbone,
    neck=dict(in_channels=[128, 256, 512, 1024], out_channels=64, start_level=0, add_extra_convs=False, num_outs=4),
    bbox_head=dict(
        num_classes=3,
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        anchor_generator=dict(octave_base_scale=3, strides=[4, 8, 16, 32]),
    ),
)
