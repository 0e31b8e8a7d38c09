# The paper on CIFAR (section 4.1): batches of 64, 160,000 iterations, a tenth of the rate from 64,000 and 96,000 on.
# 205 epochs of 50,000 images are 160,310 iterations.
batch_size = 64
optim_wrapper = dict(
    type='ranet_mm.AutoAmpOptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=True),
)
param_scheduler = dict(type='MultiStepLR', by_epoch=False, milestones=[64_000, 96_000], gamma=0.1)
train_cfg = dict(type='ranet_mm.ResumableTrainLoop', max_epochs=205, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=64, enable=False)
