"""ResNet-18 on CIFAR-10 with wrong labels held on the GPU, from image files, the most from 20 epochs.

Command: python tools/train.py configs/ranet/resnet18_cifar10-folder-noise-device_fast.py
Needs:   data/cifar10_folder/{train,test}/<class>/<image>; a GPU.
Cost:    20 epochs of 45,000 images, 555 M multiply-adds an image.
"""

_base_ = [
    '../_base_/models/resnet18_cifar.py',
    '../_base_/datasets/cifar10_folder_noise_device.py',
    '../_base_/schedules/fast.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(loss=_base_.loss))
train_dataloader = dict(batch_size=_base_.batch_size)
