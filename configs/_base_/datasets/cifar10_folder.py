# CIFAR-10 as image files: data/cifar10_folder/{train,test}/<class>/<image>.
_base_ = './cifar10.py'

dataset_type = 'ranet_mm.ImageFolder'
data_root = 'data/cifar10_folder'

train_pipeline = [dict(type='ranet_mm.LoadImage'), *_base_.train_pipeline]
strong_pipeline = [dict(type='ranet_mm.LoadImage'), *_base_.strong_pipeline]
test_pipeline = _base_.test_pipeline

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type=dataset_type,
        root=f'{data_root}/train',
        holdout=_base_.holdout,
        pipeline=train_pipeline,
    )
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type=dataset_type,
        root=f'{data_root}/train',
        holdout=_base_.holdout,
        held_out=True,
        pipeline=test_pipeline,
    )
)
test_dataloader = dict(
    dataset=dict(_delete_=True, type=dataset_type, root=f'{data_root}/test', test_mode=True, pipeline=test_pipeline)
)
