"""Attention-56 on ImageNet-1k, as the paper trains it.

Command: tools/dist_train.sh configs/ranet/att56_in1k_paper.py 8
Needs:   data/imagenet/{train,val}/<class>/<image>; 8 GPUs.
Cost:    106 epochs of 1,268,000 images, 6,271 M multiply-adds an image.
"""

_base_ = ['../_base_/models/att56.py', '../_base_/datasets/imagenet.py', '../_base_/default_runtime.py']

# The paper on ImageNet (section 4.2): a tenth of the rate from 200,000, 400,000 and 500,000 iterations on, the end at
# 530,000. Batch and weight decay are not stated; 8 x 32 makes that 106 epochs, and 1e-4 is the paper's on CIFAR.
optim_wrapper = dict(
    type='ranet_mm.AutoAmpOptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4),
)
param_scheduler = dict(type='MultiStepLR', by_epoch=False, milestones=[200_000, 400_000, 500_000], gamma=0.1)
train_cfg = dict(type='ranet_mm.ResumableTrainLoop', max_epochs=106, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=256, enable=False)
