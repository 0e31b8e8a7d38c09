# FCN for 64-pixel images: mmseg's, with narrow heads; the backbone stops at stride 8 as there.
_base_ = ['mmseg::_base_/models/fcn_r50-d8.py', '../../_base_/dense_small.py']

norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    pretrained=None,
    data_preprocessor=dict(size=(64, 64)),
    backbone=dict(**_base_.backbone, output_stride=8),
    decode_head=dict(in_channels=1024, channels=64, num_classes=4, norm_cfg=norm_cfg),
    auxiliary_head=dict(in_channels=512, channels=64, num_classes=4, norm_cfg=norm_cfg),
)
