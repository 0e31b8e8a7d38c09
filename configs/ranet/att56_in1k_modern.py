"""Attention-56 on ImageNet-1k, by procedure A2 of "ResNet strikes back".

Command: tools/dist_train.sh configs/ranet/att56_in1k_modern.py 8
Needs:   data/imagenet/{train,val}/<class>/<image>; 8 GPUs.
Cost:    300 epochs of 1,268,000 images, 6,271 M multiply-adds an image.
"""

_base_ = [
    '../_base_/models/att56.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/modern.py',
    '../_base_/default_runtime.py',
]

model = dict(backbone=dict(drop_path_rate=0.05), head=dict(loss=_base_.loss))
data_preprocessor = dict(batch_augments=_base_.mixing, to_onehot=True)
train_dataloader = dict(
    batch_size=_base_.batch_size, dataset=dict(pipeline=_base_.strong_pipeline), sampler=_base_.sampler
)
