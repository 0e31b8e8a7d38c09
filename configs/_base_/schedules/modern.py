# Procedure A2 of "ResNet strikes back" (arXiv:2110.00476, Table 2): LAMB, 300 epochs in batches of 8 x 256.
batch_size = 256
loss = dict(use_sigmoid=True)  # binary cross-entropy
mixing = dict(augments=[dict(type='Mixup', alpha=0.1), dict(type='CutMix', alpha=1.0)])
sampler = dict(_delete_=True, type='RepeatAugSampler', shuffle=True)
optim_wrapper = dict(
    type='ranet_mm.AutoAmpOptimWrapper',
    optimizer=dict(type='Lamb', lr=5e-3, weight_decay=0.02),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=5, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-6, by_epoch=True, begin=5, convert_to_iter_based=True),
]
train_cfg = dict(type='ranet_mm.ResumableTrainLoop', max_epochs=300, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=2048, enable=False)
