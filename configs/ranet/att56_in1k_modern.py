"""Attention-56 on ImageNet-1k, by procedure A2 of "ResNet strikes back".

Command: tools/dist_train.sh configs/ranet/att56_in1k_modern.py 8
Needs:   data/imagenet/{train,val}/<class>/<image>; 8 GPUs.
Cost:    300 epochs of 1,268,000 images, 6,271 M multiply-adds an image.
"""

_base_ = './att56_in1k_paper.py'

# Procedure A2 of "ResNet strikes back" (arXiv:2110.00476, Table 2): LAMB, 300 epochs in batches of 8 x 256.
model = dict(backbone=dict(drop_path_rate=0.05), head=dict(loss=dict(use_sigmoid=True)))  # binary cross-entropy
data_preprocessor = dict(
    batch_augments=dict(augments=[dict(type='Mixup', alpha=0.1), dict(type='CutMix', alpha=1.0)]), to_onehot=True
)
train_dataloader = dict(
    batch_size=256,
    dataset=dict(pipeline=_base_.strong_pipeline),
    sampler=dict(_delete_=True, type='RepeatAugSampler', shuffle=True),
)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='Lamb', lr=5e-3, weight_decay=0.02),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=5, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-6, by_epoch=True, begin=5, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=300)
auto_scale_lr = dict(base_batch_size=2048)
