"""RetinaNet with an FPN on Attention-92, COCO.

Command: tools/dist_train.sh configs/detection/retinanet_att92_coco.py 8
Needs:   data/coco; weights of Attention-92 on ImageNet (README.md)
Cost:    12 epochs in batches of 8 x 2; 64.9 M parameters; backbone: 226 G multiply-adds at 800x1344.
"""

_base_ = './retinanet_att56_coco.py'

model = dict(backbone=dict(arch='attention92', init_cfg=dict(checkpoint='work_dirs/att92_in1k_modern/epoch_300.pth')))
