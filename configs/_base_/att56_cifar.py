# Attention-56 in the CIFAR layout and how it is trained; a config adds the data.
_base_ = ['./models/att56_cifar.py', './schedules/sgd_cosine.py', './default_runtime.py']
