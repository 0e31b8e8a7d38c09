"""Attention-56 on CIFAR-10 held on the device, from image files: 15 epochs that begin with small images.

Command: python tools/train.py configs/ranet/att56_cifar10-folder-device_progressive.py
         Two CPU cores are used best by two processes of one thread:
         tools/dist_train.sh configs/ranet/att56_cifar10-folder-device_progressive.py 2 --cfg-options
         train_dataloader.batch_size=128
Needs:   data/cifar10_folder/{train,test}/<class>/<image>.
Cost:    about 100 minutes on two CPU cores that compute in bfloat16;
         174 M multiply-adds an image at 16 pixels, 271 M at 20, 391 M at 24, 694 M at 32; 15 epochs of 50,000 images.
"""

_base_ = [
    '../_base_/models/att56_cifar.py',
    '../_base_/datasets/cifar10_folder_device.py',
    '../_base_/schedules/progressive.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(loss=_base_.loss))
*crop_and_flip, pack = _base_.train_pipeline
# Every training image is trained on.
holdout = 0
train_dataloader = dict(
    batch_size=_base_.batch_size, dataset=dict(dataset=dict(holdout=0, pipeline=[*crop_and_flip, _base_.cutout, pack]))
)
val_dataloader = None
val_cfg = None
val_evaluator = None
default_hooks = dict(checkpoint=dict(save_best=None))
custom_hooks = [*_base_.custom_hooks, _base_.resize]
