# The original CIFAR-10 archive: downloaded where it is missing, its MD5 sums checked.
dataset_type = 'ranet_mm.CIFAR10'
data_root = 'data/cifar10'
# Switches for the command line, as in `--cfg-options folder=data/cifar10_folder on_device=True`, which the tools apply:
holdout = 10  # every 10th training image of each class is for validation; 0: train on all, without validation
folder = None  # read {train,test}/<class>/<image> below this folder instead of the archive
wrong_labels = 0  # this share of the labels that are trained on gets wrong (paper, Table 5)
on_device = False  # hold the images on the device, where the training pipeline runs too: docs/device-data.md
data_preprocessor = dict(
    num_classes=10,
    mean=[125.307, 122.961, 113.8575],  # RGB, of the training images
    std=[51.5865, 50.847, 51.255],
    to_rgb=False,  # loaded in RGB order
)

crop_and_flip = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
]
train_pipeline = [*crop_and_flip, dict(type='PackInputs')]
# For long training: also one random change of colour or shape, and a rectangle of grey.
strong_pipeline = [
    *crop_and_flip,
    dict(type='NumpyToPIL'),
    dict(type='torchvision/TrivialAugmentWide'),
    dict(type='PILToNumpy'),
    dict(type='RandomErasing', erase_prob=0.25, mode='const', fill_color=[125, 123, 114]),
    dict(type='PackInputs'),
]
test_pipeline = [dict(type='ranet_mm.LoadImage'), dict(type='PackInputs')]

train_dataloader = dict(
    batch_size=128,
    num_workers=4,
    persistent_workers=True,
    dataset=dict(type=dataset_type, data_root=data_root, split='train', holdout=holdout, pipeline=train_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=256,
    num_workers=2,
    persistent_workers=True,
    dataset=dict(
        type=dataset_type, data_root=data_root, split='train', holdout=holdout, held_out=True, pipeline=test_pipeline
    ),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
test_dataloader = dict(
    batch_size=256,
    num_workers=2,
    persistent_workers=True,
    dataset=dict(type=dataset_type, data_root=data_root, split='test', test_mode=True, pipeline=test_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
val_evaluator = dict(type='Accuracy', topk=(1,))
test_evaluator = val_evaluator
