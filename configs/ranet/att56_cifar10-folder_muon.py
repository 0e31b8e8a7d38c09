"""Attention-56 on CIFAR-10 as image files: 6 more epochs after the 14 of att56_cifar10-folder_restart.py, by Muon.

Command: python tools/train.py configs/ranet/att56_cifar10-folder_muon.py
         Two cores are used best by two processes of one thread, 1.4 times as fast at 24 pixels:
         tools/dist_train.sh configs/ranet/att56_cifar10-folder_muon.py 2 --cfg-options train_dataloader.batch_size=64
Needs:   data/cifar10_folder/{train,test}/<class>/<image>; another folder by --cfg-options
         train_dataloader.dataset.root=... test_dataloader.dataset.root=...
         work_dirs/att56_cifar10-folder_restart/epoch_6.pth; another checkpoint by --cfg-options load_from=...
Cost:    6 epochs of 50,000 images; 391 M multiply-adds an image at 24 pixels, 694 M at 32; Muon adds about a tenth.
"""

_base_ = ['./att56_cifar10-folder_fast.py']

load_from = 'work_dirs/att56_cifar10-folder_restart/epoch_6.pth'
# A tenth of what suits training from scratch: kernels are smaller than at first, with weights of about 0.03, not 0.09.
optim_wrapper = dict(optimizer=dict(_delete_=True, type='ranet_mm.Muon', lr=0.0015, weight_decay=0.05))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.02, by_epoch=False, begin=0, end=50),
    dict(type='LinearLR', start_factor=1.0, end_factor=0.0, by_epoch=True, begin=0, end=6, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=6)
custom_hooks = [
    *_base_.custom_hooks[:-1],
    dict(type='ranet_mm.ProgressiveResizeHook', sizes=[(0, 24), (3.5, 32)]),
]
randomness = dict(seed=2)  # another order of the images than in the cycles before
