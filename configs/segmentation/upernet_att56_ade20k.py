"""UPerNet on Attention-56, ADE20K.

Command: tools/dist_train.sh configs/segmentation/upernet_att56_ade20k.py 4
Needs:   data/ade/ADEChallengeData2016; weights of Attention-56 on ImageNet (README.md)
Cost:    160,000 batches of 4 x 4; 72.8 M parameters; backbone: 33 G multiply-adds at 512x512.
"""

_base_ = ['mmseg::upernet/upernet_r50_4xb4-160k_ade20k-512x512.py', '../_base_/dense.py']

norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(pretrained=None, backbone=dict(**_base_.backbone, norm_cfg=norm_cfg))
