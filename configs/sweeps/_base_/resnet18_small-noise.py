"""The small-scale study's ResNet-18 with wrong labels among the training images (paper, Table 5).

Command: ranet sweep configs/sweeps/small/*.yml
Needs:   data/cifar10_folder/train/<class>/<image>; the test images are not read.
Cost:    about a minute on one CPU core.
"""

_base_ = './resnet18_small.py'

clean = dict(**_base_.part, held_out=True, pipeline=_base_.train_pipeline)
train_dataloader = dict(dataset=dict(_delete_=True, type='ranet_mm.LabelNoise', fraction=0.5, dataset=clean))
