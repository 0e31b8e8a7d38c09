"""AttentionNeXt-92 on ImageNet-1k, as the paper trains it.

Command: tools/dist_train.sh configs/ranet/attnext92_in1k_paper.py 8
Needs:   data/imagenet/{train,val}/<class>/<image>; 8 GPUs.
Cost:    106 epochs of 1,268,000 images, 10,704 M multiply-adds an image.
"""

_base_ = './att56_in1k_paper.py'

model = dict(backbone=dict(arch='attentionnext92'))
