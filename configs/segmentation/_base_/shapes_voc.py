# Images of shapes in the layout of PASCAL VOC, written by `ranet make-shapes data/shapes`.
_base_ = './shapes.py'

layout = dict(
    data_root='data/shapes/VOCdevkit/VOC2012',
    data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
    reduce_zero_label=False,
)
train_dataloader = dict(dataset=dict(**layout, ann_file='ImageSets/Segmentation/train.txt'))
val_dataloader = dict(dataset=dict(**layout, ann_file='ImageSets/Segmentation/val.txt'))
test_dataloader = dict(dataset=dict(**layout, ann_file='ImageSets/Segmentation/test.txt'))
