# The most from 20 epochs: a large rate, up for a quarter of the time and then down to zero, label smoothing, and no
# decay of what normalizes or shifts. Batch, rate and shape are David Page's, "How to train your ResNet" (2018).
batch_size = 512
loss = dict(type='LabelSmoothLoss', label_smooth_val=0.1)
optim_wrapper = dict(
    type='ranet_mm.AutoAmpOptimWrapper',
    optimizer=dict(type='SGD', lr=0.4, momentum=0.9, weight_decay=5e-4, nesterov=True),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=True, begin=0, end=5, convert_to_iter_based=True),
    dict(type='LinearLR', start_factor=1.0, end_factor=0.0, by_epoch=True, begin=5, convert_to_iter_based=True),
]
train_cfg = dict(type='ranet_mm.ResumableTrainLoop', max_epochs=20, val_interval=4)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=512, enable=False)
