# Attention-56 for ImageNet.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='ranet_mm.ResidualAttentionNet', arch='attention56'),
    neck=dict(type='ranet_mm.ResidualAttentionNeck'),
    head=dict(
        type='ranet_mm.ResidualAttentionHead',
        num_classes=1000,
        in_channels=2048,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        topk=(1, 5),
    ),
)
