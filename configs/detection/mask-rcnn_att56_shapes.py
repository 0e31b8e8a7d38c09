"""Mask R-CNN on Attention-56, 64-pixel images of shapes in the layout of COCO: the whole path in a small run.

Command: python tools/train.py configs/detection/mask-rcnn_att56_shapes.py
Needs:   python tools/make_shapes.py data/shapes
"""

_base_ = ['./_base_/mask-rcnn_small.py', './_base_/shapes.py']

val_evaluator = dict(metric=['bbox', 'segm'])
test_evaluator = dict(metric=['bbox', 'segm'])
