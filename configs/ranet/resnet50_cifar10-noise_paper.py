"""ResNet-50 on CIFAR-10 with wrong labels, as the paper trains it.

Command: python tools/train.py configs/ranet/resnet50_cifar10-noise_paper.py
Needs:   170 MB, downloaded to data/cifar10 on first use.
Cost:    205 epochs of 45,000 images, 1,298 M multiply-adds an image.
"""

_base_ = [
    '../_base_/models/resnet50_cifar.py',
    '../_base_/datasets/cifar10_noise.py',
    '../_base_/schedules/paper_cifar.py',
    '../_base_/default_runtime.py',
]

train_dataloader = dict(batch_size=_base_.batch_size)
