# Attention-56 in the CIFAR layout; like mmpretrain's ResNets, each unit starts as the identity.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='ranet_mm.ResidualAttentionNet', arch='attention56_cifar', zero_init_last=True),
    neck=dict(type='ranet_mm.ResidualAttentionNeck'),
    head=dict(
        type='ranet_mm.ResidualAttentionHead',
        num_classes=10,
        in_channels=1024,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
    ),
)
