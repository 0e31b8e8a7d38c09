"""UPerNet on Attention-56 in the CIFAR layout, 64-pixel images of shapes: a small run of the whole path.

Command: python tools/train.py configs/segmentation/upernet_att56_shapes.py
Needs:   python tools/make_shapes.py data/shapes
"""

_base_ = ['mmseg::_base_/models/upernet_r50.py', './_base_/shapes.py']

norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    pretrained=None,
    data_preprocessor=dict(size=(64, 64)),
    backbone=dict(
        _delete_=True,
        type='ranet_mm.ResidualAttentionNet',
        arch='attention56_cifar',
        stem_stride=2,
        stem_pool=True,
        post_stride=2,
        out_indices=(0, 1, 2, 3),
        out_norm='shared',
        zero_init_last=True,
        init_cfg=dict(type='Pretrained', checkpoint='ranet_mm://attention56_cifar.cifar10', prefix='backbone.'),
    ),
    decode_head=dict(
        in_channels=[128, 256, 512, 1024], channels=64, num_classes=4, norm_cfg=norm_cfg, pool_scales=(1, 2)
    ),
    auxiliary_head=dict(in_channels=512, channels=64, num_classes=4, norm_cfg=norm_cfg),
)
