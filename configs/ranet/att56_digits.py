"""Attention-56, a quarter as wide, on real handwritten digits that ship inside scikit-learn: the embedded default.

Command: python tools/train.py configs/ranet/att56_digits.py
Needs:   scikit-learn; no download and no file to prepare.
Cost:    14 epochs of 1,368 images, 3 M multiply-adds an image; one to two minutes on a CPU core.
"""

_base_ = [
    '../_base_/models/att56_cifar.py',
    '../_base_/datasets/digits.py',
    '../_base_/schedules/sgd_cosine.py',
    '../_base_/default_runtime.py',
]

# A digit's pixel is a block of 4x4: stride 4 in the stem brings the maps back to the 8x8 that the data has.
model = dict(backbone=dict(width=0.25, stem_stride=2, stem_pool=True), head=dict(in_channels=256))
train_dataloader = dict(batch_size=32)
# As narrow as this, the network is a point worse in bfloat16, and no faster.
optim_wrapper = dict(dtype='float32', optimizer=dict(_delete_=True, type='ranet_mm.Muon', lr=0.02, weight_decay=0.05))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.02, by_epoch=False, begin=0, end=43),  # one epoch
    dict(type='CosineAnnealingLR', by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=14)
