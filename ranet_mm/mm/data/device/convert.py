"""Any config of a small data set, moved to the device."""

from __future__ import annotations

from mmengine.config import Config

LOADERS = 'train_dataloader', 'val_dataloader'


def on_device(cfg: Config) -> None:
    """Hold a config's training and validation images on the device; its test images stay with the ordinary pipeline.

    Raises:
        ValueError: A sampler is not MMEngine's default one.
    """
    for name in LOADERS:
        loader = cfg.get(name)
        if not loader or loader.dataset.type == 'ranet_mm.DeviceDataset':
            continue
        if loader.sampler.type != 'DefaultSampler':
            raise ValueError(
                f'sampler {loader.sampler.type} of {name} is not allowed on the device: it must be DefaultSampler'
            )
        loader.sampler.type = 'ranet_mm.EpochSampler'
        loader.dataset = dict(type='ranet_mm.DeviceDataset', dataset=loader.dataset)
        loader.num_workers, loader.persistent_workers = 0, False
        loader.collate_fn = dict(type='ranet_mm.at_once')
    cfg.data_preprocessor = dict(cfg.data_preprocessor, type='ranet_mm.DevicePreprocessor')
