# DeepLabV3+ for 64-pixel images: mmseg's, with narrow heads and dilations that fit maps of 8x8.
_base_ = ['mmseg::_base_/models/deeplabv3plus_r50-d8.py', '../../_base_/dense_small.py']

norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    pretrained=None,
    data_preprocessor=dict(size=(64, 64)),
    backbone=dict(**_base_.backbone, output_stride=8),
    decode_head=dict(
        in_channels=1024,
        channels=64,
        dilations=(1, 2, 4),
        c1_in_channels=128,
        c1_channels=16,
        num_classes=4,
        norm_cfg=norm_cfg,
    ),
    auxiliary_head=dict(in_channels=512, channels=64, num_classes=4, norm_cfg=norm_cfg),
)
