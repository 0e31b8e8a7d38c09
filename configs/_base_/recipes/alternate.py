# `progressive` with larger images earlier, mirrored in turns.
_base_ = './progressive.py'

load, crop, _, pack = _base_.train_pipeline
flip = dict(type='ranet_mm.AlternatingFlip')
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=[load, crop, flip, _base_.cutout, pack])))
# 8.4 epochs of full size in multiply-adds, where `progressive` takes 7.2.
custom_hooks = [*_base_.custom_hooks[:-1], {**_base_.resize, 'sizes': [(0, 16), (4, 20), (7, 24), (11, 32)]}]
