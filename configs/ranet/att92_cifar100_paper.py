"""Attention-92 on CIFAR-100, as the paper trains it.

Command: python tools/train.py configs/ranet/att92_cifar100_paper.py
Needs:   169 MB, downloaded to data/cifar100 on first use.
Cost:    205 epochs of 45,000 images, 1,089 M multiply-adds an image.
"""

_base_ = './att92_cifar10_paper.py'

dataset = dict(type='ranet_mm.CIFAR100', data_root='data/cifar100')
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dataset)
val_evaluator = test_evaluator = dict(topk=(1, 5))
model = dict(head=dict(num_classes=100))
data_preprocessor = dict(num_classes=100, mean=[129.304, 124.070, 112.434], std=[68.170, 65.392, 70.418])
