"""Attention-56 with wrong labels among the training images (paper, Table 5), the most from 20 epochs.

Command: python tools/sweep.py configs/sweeps/gpu/07_noise.yml
Needs:   data/cifar10_folder/{train,test}/<class>/<image>; a GPU.
Cost:    20 epochs of 45,000 images, 694 M multiply-adds an image.
"""

_base_ = './att56_fast.py'

clean = _base_.train_dataloader.dataset.dataset
train_dataloader = dict(
    dataset=dict(dataset=dict(_delete_=True, type='ranet_mm.LabelNoise', fraction=0.3, dataset=clean))
)
