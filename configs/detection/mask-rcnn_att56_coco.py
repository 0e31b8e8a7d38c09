"""Mask R-CNN with an FPN on Attention-56, COCO.

Command: tools/dist_train.sh configs/detection/mask-rcnn_att56_coco.py 8
Needs:   data/coco; weights of Attention-56 on ImageNet (README.md)
Cost:    12 epochs in batches of 8 x 2; 50.7 M parameters; backbone: 134 G multiply-adds at 800x1344.
"""

_base_ = ['mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', '../_base_/dense.py']

model = dict(backbone=dict(**_base_.backbone, frozen_stages=1, norm_eval=True))
