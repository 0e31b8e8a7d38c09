"""DeepLabV3+ on Attention-56, PASCAL VOC 2012 with the additional masks.

Command: tools/dist_train.sh configs/segmentation/deeplabv3plus_att56_voc12aug.py 4
Needs:   data/VOCdevkit/VOC2012; weights of Attention-56 on ImageNet (README.md)
Cost:    20,000 batches of 4 x 4; 49.8 M parameters; backbone: 116 G multiply-adds at 512x512.
"""

_base_ = ['mmseg::deeplabv3plus/deeplabv3plus_r50-d8_4xb4-20k_voc12aug-512x512.py', '../_base_/dense.py']

norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(pretrained=None, backbone=dict(**_base_.backbone, norm_cfg=norm_cfg, output_stride=8))
