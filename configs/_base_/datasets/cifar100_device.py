# CIFAR-100 held on the device, where the training pipeline runs too: docs/device-data.md.
_base_ = './cifar100.py'

data_preprocessor = dict(type='ranet_mm.DevicePreprocessor')
train_dataloader = dict(
    num_workers=0,
    collate_fn=dict(type='ranet_mm.at_once'),
    sampler=dict(type='ranet_mm.EpochSampler'),
    dataset=dict(_delete_=True, type='ranet_mm.DeviceDataset', dataset=_base_.train_dataloader.dataset),
)
val_dataloader = dict(
    num_workers=0,
    collate_fn=dict(type='ranet_mm.at_once'),
    dataset=dict(_delete_=True, type='ranet_mm.DeviceDataset', dataset=_base_.val_dataloader.dataset),
)
