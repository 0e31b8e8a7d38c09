# UPerNet for 64-pixel images: mmseg's, with narrow heads and two of the four pooled maps.
_base_ = ['mmseg::_base_/models/upernet_r50.py', '../../_base_/dense_small.py']

norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    pretrained=None,
    data_preprocessor=dict(size=(64, 64)),
    backbone=_base_.backbone,
    decode_head=dict(
        in_channels=[128, 256, 512, 1024], channels=64, pool_scales=(1, 2), num_classes=4, norm_cfg=norm_cfg
    ),
    auxiliary_head=dict(in_channels=512, channels=64, num_classes=4, norm_cfg=norm_cfg),
)
