"""Attention-56 on CIFAR-10 as image files: 5 epochs of stronger augmentation after att56_cifar10-folder_final.py's 22.

Command: python tools/train.py configs/ranet/att56_cifar10-folder_augment.py
Needs:   the images of att56_cifar10-folder_fast.py, whose header also gives a command for two cores;
         work_dirs/att56_cifar10-folder_final/epoch_2.pth, or another checkpoint by --cfg-options load_from=...
Cost:    5 epochs of 50,000 images; 391 M multiply-adds an image at 24 pixels, 694 M at 32; Muon adds about a tenth.
"""

_base_ = ['./att56_cifar10-folder_muon.py']

load_from = 'work_dirs/att56_cifar10-folder_final/epoch_2.pth'
warm_up, decay = _base_.param_scheduler
param_scheduler = [warm_up, {**decay, 'end': 5}]
train_cfg = dict(max_epochs=5)
custom_hooks = [
    *_base_.custom_hooks[:-1],
    dict(type='ranet_mm.ProgressiveResizeHook', sizes=[(0, 24), (3.3, 32)]),
]
# The cycle before fits the training images, and gained next to nothing on others. Half of the pictures get a random
# change of colour or shape and, drawn apart, half a grey rectangle: a quarter stays as in the cycles before.
load, *crop_and_flip, pack = _base_.train_pipeline
changes = [dict(type='NumpyToPIL'), dict(type='torchvision/TrivialAugmentWide'), dict(type='PILToNumpy')]
erase = dict(type='RandomErasing', erase_prob=0.5, max_area_ratio=0.25, mode='const', fill_color=[125, 123, 114])
augmented = [load, *crop_and_flip, dict(type='RandomApply', transforms=changes, prob=0.5), erase, pack]
train_dataloader = dict(dataset=dict(pipeline=augmented))
randomness = dict(seed=4)
