"""RetinaNet on Attention-56, 64-pixel images of shapes in the layout of PASCAL VOC: the whole path in a small run.

Command: python tools/train.py configs/detection/retinanet_att56_shapes-voc.py
Needs:   ranet make-shapes data/shapes
Cost:    20 epochs of 300 images; 7.6 M parameters; backbone: 131 M multiply-adds at 64x64.
"""

_base_ = ['./_base_/retinanet_small.py', './_base_/shapes_voc.py']
