# ResNet-18 as mmpretrain has it for CIFAR: the baseline beside which accuracies are read.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet_CIFAR', depth=18, num_stages=4, out_indices=(3,), style='pytorch'),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='ranet_mm.ResidualAttentionHead',  # mmpretrain's linear one, which takes the labels of a batch at once
        num_classes=10,
        in_channels=512,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
    ),
)
