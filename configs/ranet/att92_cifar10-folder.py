"""Attention-92 on CIFAR-10 as image files.

Command: python tools/train.py configs/ranet/att92_cifar10-folder.py
Needs:   data/cifar10_folder/{train,test}/<class>/<image>; another folder by --cfg-options
         train_dataloader.dataset.root=... val_dataloader.dataset.root=... test_dataloader.dataset.root=...
Cost:    200 epochs of 50,000 images, 1,089 M multiply-adds an image.
"""

_base_ = ['../_base_/att92_cifar.py', '../_base_/datasets/cifar10_folder.py']
