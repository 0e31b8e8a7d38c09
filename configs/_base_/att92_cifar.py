_base_ = './att56_cifar.py'

model = dict(backbone=dict(arch='attention92_cifar'))
