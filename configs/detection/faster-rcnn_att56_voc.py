"""Faster R-CNN with an FPN on Attention-56, PASCAL VOC 2007 and 2012.

Command: tools/dist_train.sh configs/detection/faster-rcnn_att56_voc.py 8
Needs:   data/VOCdevkit; weights of Attention-56 on ImageNet (README.md)
Cost:    12 passes in batches of 8 x 2; 47.7 M parameters; backbone: 78 G multiply-adds at 608x1024.
"""

_base_ = ['mmdet::pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py', '../_base_/dense.py']

model = dict(backbone=dict(**_base_.backbone, frozen_stages=1, norm_eval=True))
