# Faster R-CNN for 64-pixel images: mmdet's, with a narrow neck and heads and few proposals.
_base_ = ['mmdet::_base_/models/faster-rcnn_r50_fpn.py', '../../_base_/dense_small.py']

model = dict(
    backbone=_base_.backbone,
    neck=dict(in_channels=[128, 256, 512, 1024], out_channels=64, num_outs=4),
    rpn_head=dict(in_channels=64, feat_channels=64, anchor_generator=dict(scales=[4], strides=[4, 8, 16, 32])),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64, finest_scale=16),
        bbox_head=dict(in_channels=64, fc_out_channels=256, num_classes=3),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=64)),
        rpn_proposal=dict(nms_pre=200, max_per_img=100),
        rcnn=dict(sampler=dict(num=32)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=200, max_per_img=50), rcnn=dict(max_per_img=20)),
)
