"""FCN on Attention-92, ADE20K.

Command: tools/dist_train.sh configs/segmentation/fcn_att92_ade20k.py 4
Needs:   data/ade/ADEChallengeData2016; weights of Attention-92 on ImageNet (README.md)
Cost:    160,000 batches of 4 x 4; 76.5 M parameters; backbone: 182 G multiply-adds at 512x512.
"""

_base_ = './fcn_att56_ade20k.py'

model = dict(backbone=dict(arch='attention92', init_cfg=dict(checkpoint='work_dirs/att92_in1k_modern/epoch_300.pth')))
