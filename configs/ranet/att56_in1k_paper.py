"""Attention-56 on ImageNet-1k, as the paper trains it.

Command: tools/dist_train.sh configs/ranet/att56_in1k_paper.py 8
Needs:   data/imagenet/{train,val}/<class>/<image>; 8 GPUs.
Cost:    106 epochs of 1,268,000 images, 6,271 M multiply-adds an image.
"""

_base_ = [
    '../_base_/models/att56.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/paper_imagenet.py',
    '../_base_/default_runtime.py',
]
