"""OpenMMLab plugs: models need mmengine alone, datasets and the head need mmpretrain."""
