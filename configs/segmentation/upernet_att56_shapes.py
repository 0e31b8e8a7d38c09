"""UPerNet on Attention-56, 64-pixel images of shapes in the layout of ADE20K: the whole path in a small run.

Command: python tools/train.py configs/segmentation/upernet_att56_shapes.py
Needs:   python tools/make_shapes.py data/shapes
"""

_base_ = ['./_base_/upernet_small.py', './_base_/shapes.py']
