"""Attention-56 on CIFAR-10 as image files: 2 last epochs at full size, after the 20 of att56_cifar10-folder_muon.py.

Command: python tools/train.py configs/ranet/att56_cifar10-folder_final.py
         Two cores are used best by two processes of one thread:
         tools/dist_train.sh configs/ranet/att56_cifar10-folder_final.py 2 --cfg-options train_dataloader.batch_size=64
Needs:   data/cifar10_folder/{train,test}/<class>/<image>; another folder by --cfg-options
         train_dataloader.dataset.root=... test_dataloader.dataset.root=...
         work_dirs/att56_cifar10-folder_muon/epoch_6.pth; another checkpoint by --cfg-options load_from=...
Cost:    2 epochs of 50,000 images; 694 M multiply-adds an image; Muon adds about a tenth.
"""

_base_ = ['./att56_cifar10-folder_muon.py']

load_from = 'work_dirs/att56_cifar10-folder_muon/epoch_6.pth'
# The rate that the cycle before had when two of its epochs were left.
optim_wrapper = dict(optimizer=dict(lr=0.0005))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.02, by_epoch=False, begin=0, end=50),
    dict(type='LinearLR', start_factor=1.0, end_factor=0.0, by_epoch=True, begin=0, end=2, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=2)
custom_hooks = _base_.custom_hooks[:-1]  # no smaller images
randomness = dict(seed=3)
