"""Mask R-CNN on Attention-56, 64-pixel images of shapes in the layout of COCO: the whole path in a small run.

Command: python tools/train.py configs/detection/mask-rcnn_att56_shapes.py
Needs:   ranet make-shapes data/shapes
Cost:    20 epochs of 300 images; 8.5 M parameters; backbone: 131 M multiply-adds at 64x64.
"""

_base_ = ['./_base_/mask-rcnn_small.py', './_base_/shapes.py']

# Float32: mmcv's RoIAlign computes no bfloat16 on a CPU.
optim_wrapper = dict(type='OptimWrapper')

val_evaluator = dict(metric=['bbox', 'segm'])
test_evaluator = dict(metric=['bbox', 'segm'])
