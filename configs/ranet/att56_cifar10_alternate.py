"""Attention-56 on CIFAR-10 held on the device: `progressive` with larger images, mirrored in turns.

Command: python tools/train.py configs/ranet/att56_cifar10_alternate.py
Needs:   170 MB, downloaded to data/cifar10 on first use.
Cost:    1.2 times that of att56_cifar10_progressive.py, whose header also gives a command for two cores;
         15 epochs of 50,000 images.
"""

_base_ = './att56_cifar10_progressive.py'

train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='RandomCrop', crop_size=32, padding=4),
            dict(type='ranet_mm.AlternatingFlip'),
            _base_.cutout,
            dict(type='PackInputs'),
        ]
    )
)
# 8.4 epochs of full size in multiply-adds, where `progressive` takes 7.2.
custom_hooks = [
    *_base_.runtime_hooks,
    dict(type='ranet_mm.ProgressiveResizeHook', sizes=[(0, 16), (4, 20), (7, 24), (11, 32)]),
]
