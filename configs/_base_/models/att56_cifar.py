model = dict(
    type='ImageClassifier',
    backbone=dict(type='ranet_mm.ResidualAttentionNet', arch='attention56_cifar'),
    neck=dict(type='ranet_mm.ResidualAttentionNeck'),
    head=dict(
        type='ranet_mm.ResidualAttentionHead',
        num_classes=10,
        in_channels=1024,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
    ),
)
