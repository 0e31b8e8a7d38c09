"""Every model of the table by `torch.hub.load(REPOSITORY, 'attention56_cifar', pretrained=True)`."""

import timm as _timm

import ranet_mm  # noqa: F401 - registers the models

dependencies = ['torch', 'timm', 'safetensors']

globals().update({name: _timm.model_entrypoint(name) for name in _timm.list_models(module='residual_attention')})
