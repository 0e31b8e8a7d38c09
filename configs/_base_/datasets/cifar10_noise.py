# CIFAR-10 with wrong labels among those that are trained on (paper, Table 5); labels to validate and test on are right.
_base_ = './cifar10.py'

clean = _base_.train_dataloader.dataset
train_dataloader = dict(dataset=dict(_delete_=True, type='ranet_mm.LabelNoise', fraction=0.3, seed=0, dataset=clean))
