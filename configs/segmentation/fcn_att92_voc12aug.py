"""FCN on Attention-92, PASCAL VOC 2012 with the additional masks.

Command: tools/dist_train.sh configs/segmentation/fcn_att92_voc12aug.py 4
Needs:   data/VOCdevkit/VOC2012; weights of Attention-92 on ImageNet (README.md)
Cost:    20,000 batches of 4 x 4; 76.4 M parameters; backbone: 182 G multiply-adds at 512x512.
"""

_base_ = './fcn_att56_voc12aug.py'

model = dict(backbone=dict(arch='attention92', init_cfg=dict(checkpoint='work_dirs/att92_in1k_modern/epoch_300.pth')))
