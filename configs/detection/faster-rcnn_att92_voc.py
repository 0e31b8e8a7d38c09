"""Faster R-CNN with an FPN on Attention-92, PASCAL VOC 2007 and 2012.

Command: tools/dist_train.sh configs/detection/faster-rcnn_att92_voc.py 8
Needs:   data/VOCdevkit; weights of Attention-92 on ImageNet (README.md)
Cost:    12 passes in batches of 8 x 2; 68.4 M parameters; backbone: 131 G multiply-adds at 608x1024.
"""

_base_ = './faster-rcnn_att56_voc.py'

model = dict(backbone=dict(arch='attention92', init_cfg=dict(checkpoint='work_dirs/att92_in1k_modern/epoch_300.pth')))
