_base_ = [
    '../_base_/models/att56_cifar.py',
    '../_base_/datasets/digits.py',
    '../_base_/schedules/sgd_cosine.py',
    '../_base_/default_runtime.py',
]

model = dict(backbone=dict(stem_pool=True))
train_cfg = dict(max_epochs=8)
