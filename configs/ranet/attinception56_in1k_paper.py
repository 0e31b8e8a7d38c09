"""AttentionInception-56 on ImageNet-1k, as the paper trains it.

Command: tools/dist_train.sh configs/ranet/attinception56_in1k_paper.py 8
Needs:   data/imagenet/{train,val}/<class>/<image>; 8 GPUs.
Cost:    106 epochs of 1,268,000 images, 6,302 M multiply-adds an image.
"""

_base_ = './att56_in1k_paper.py'

model = dict(backbone=dict(arch='attentioninception56'), head=dict(in_channels=1792))

# Crops of 299 pixels, as Inception networks read them.
train_pipeline = [dict(t, scale=299) if t.type == 'RandomResizedCrop' else t for t in _base_.train_pipeline]
sizes = dict(ResizeEdge=dict(scale=342), CenterCrop=dict(crop_size=299))
test_pipeline = [dict(t, **sizes.get(t.type, {})) for t in _base_.test_pipeline]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
