# CIFAR-10 as image files, held on the device, with wrong labels among those that are trained on (paper, Table 5).
_base_ = './cifar10_folder_device.py'

clean = _base_.train_dataloader.dataset.dataset
train_dataloader = dict(
    dataset=dict(dataset=dict(_delete_=True, type='ranet_mm.LabelNoise', fraction=0.3, seed=0, dataset=clean))
)
