# The most from 15 epochs where time is scarce, as on a CPU: small images first, which cost a quarter, and Muon, at the
# rate that was best in the small-scale study. Cutout of 8 x 8 pixels is from David Page, "How to train your ResNet"
# (2018).
batch_size = 256
loss = dict(type='LabelSmoothLoss', label_smooth_val=0.1)
cutout = dict(type='Cutout', shape=8, pad_val=[125, 123, 114], prob=1.0)
optim_wrapper = dict(
    type='ranet_mm.AutoAmpOptimWrapper',
    optimizer=dict(type='ranet_mm.Muon', lr=0.02, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=True, begin=0, end=1, convert_to_iter_based=True),
    dict(type='LinearLR', start_factor=1.0, end_factor=0.0, by_epoch=True, begin=1, convert_to_iter_based=True),
]
resize = dict(type='ranet_mm.ProgressiveResizeHook', sizes=[(0, 16), (6, 20), (9, 24), (12.5, 32)])
train_cfg = dict(type='ranet_mm.ResumableTrainLoop', max_epochs=15)
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=256, enable=False)
