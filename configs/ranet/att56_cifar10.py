_base_ = [
    '../_base_/models/att56_cifar.py',
    '../_base_/datasets/cifar10.py',
    '../_base_/schedules/sgd_cosine.py',
    '../_base_/default_runtime.py',
]
