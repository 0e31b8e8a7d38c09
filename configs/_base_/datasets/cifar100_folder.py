# CIFAR-100 as image files: data/cifar100_folder/{train,test}/<class>/<image>.
_base_ = './cifar10_folder.py'

data_root = 'data/cifar100_folder'
data_preprocessor = dict(num_classes=100, mean=[129.304, 124.070, 112.434], std=[68.170, 65.392, 70.418])

train_dataloader = dict(dataset=dict(root=f'{data_root}/train'))
val_dataloader = dict(dataset=dict(root=f'{data_root}/train'))
test_dataloader = dict(dataset=dict(root=f'{data_root}/test'))
val_evaluator = dict(topk=(1, 5))
test_evaluator = val_evaluator
