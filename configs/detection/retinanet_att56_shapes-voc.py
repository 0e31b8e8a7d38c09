"""RetinaNet on Attention-56, 64-pixel images of shapes in the layout of PASCAL VOC: the whole path in a small run.

Command: python tools/train.py configs/detection/retinanet_att56_shapes-voc.py
Needs:   python tools/make_shapes.py data/shapes
"""

_base_ = ['./_base_/retinanet_small.py', './_base_/shapes_voc.py']
