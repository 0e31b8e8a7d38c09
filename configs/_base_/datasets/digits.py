# Handwritten digits that ship inside scikit-learn: 1,437 images to train on, 360 to test on.
dataset_type = 'ranet_mm.Digits'
holdout = 20  # every 20th training image of each class is for validation; 0: train on all, without validation
on_device = False  # hold the images on the device, by the tools: docs/device-data.md
data_preprocessor = dict(num_classes=10, mean=[77.8] * 3, std=[95.9] * 3, to_rgb=False)

train_pipeline = [dict(type='RandomCrop', crop_size=32, padding=2), dict(type='PackInputs')]
test_pipeline = [dict(type='ranet_mm.LoadImage'), dict(type='PackInputs')]

train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    dataset=dict(type=dataset_type, split='train', holdout=holdout, pipeline=train_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=360,
    num_workers=0,
    dataset=dict(type=dataset_type, split='train', holdout=holdout, held_out=True, pipeline=test_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
test_dataloader = dict(
    batch_size=360,
    num_workers=0,
    dataset=dict(type=dataset_type, split='test', test_mode=True, pipeline=test_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
val_evaluator = dict(type='Accuracy', topk=(1,))
test_evaluator = val_evaluator
