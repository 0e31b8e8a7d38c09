# The original CIFAR-100 archive: downloaded where it is missing, its MD5 sums checked.
_base_ = './cifar10.py'

dataset_type = 'ranet_mm.CIFAR100'
data_root = 'data/cifar100'
data_preprocessor = dict(num_classes=100, mean=[129.304, 124.070, 112.434], std=[68.170, 65.392, 70.418])

train_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
test_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
val_evaluator = dict(topk=(1, 5))
test_evaluator = val_evaluator
