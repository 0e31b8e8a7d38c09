"""UPerNet on Attention-56, 64-pixel images of shapes in the layout of ADE20K: the whole path in a small run.

Command: python tools/train.py configs/segmentation/upernet_att56_shapes.py
Needs:   ranet make-shapes data/shapes
Cost:    20 epochs of 300 images; 8.6 M parameters; backbone: 131 M multiply-adds at 64x64.
"""

_base_ = ['./_base_/upernet_small.py', './_base_/shapes.py']
