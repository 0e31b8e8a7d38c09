# All of `progressive` but the network: CIFAR-10 from image files on the device, and no image held out of training.
_base_ = ['../datasets/cifar10_folder_device.py', '../schedules/progressive.py', '../default_runtime.py']

*crop_and_flip, pack = _base_.train_pipeline
holdout = 0
train_dataloader = dict(
    batch_size=_base_.batch_size, dataset=dict(dataset=dict(holdout=0, pipeline=[*crop_and_flip, _base_.cutout, pack]))
)
val_dataloader = None
val_cfg = None
val_evaluator = None
default_hooks = dict(checkpoint=dict(save_best=None))
custom_hooks = [*_base_.custom_hooks, _base_.resize]
