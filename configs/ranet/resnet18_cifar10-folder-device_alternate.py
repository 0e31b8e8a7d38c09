"""ResNet-18 on CIFAR-10 held on the device, from image files: the recipe that Attention-56's weights come from.

Command: python tools/train.py configs/ranet/resnet18_cifar10-folder-device_alternate.py
         The header of att56_cifar10-folder-device_progressive.py also gives a command for two cores.
Needs:   data/cifar10_folder/{train,test}/<class>/<image>.
Cost:    555 M multiply-adds an image at 32 pixels, 15 epochs of 50,000 images.
"""

_base_ = ['../_base_/models/resnet18_cifar.py', '../_base_/recipes/alternate.py']

model = dict(head=dict(loss=_base_.loss))
