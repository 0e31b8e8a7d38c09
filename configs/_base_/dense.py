# What detection and segmentation on large images share: the backbone with its ImageNet weights, and the hooks.
backbone = dict(
    _delete_=True,
    type='ranet_mm.ResidualAttentionNet',
    arch='attention56',
    out_indices=(0, 1, 2, 3),
    init_cfg=dict(type='Pretrained', checkpoint='work_dirs/att56_in1k_modern/epoch_300.pth'),
)
custom_hooks = [
    dict(type='ranet_mm.ChannelsLastHook'),
    dict(type='ranet_mm.CheckpointGuardHook'),
    dict(type='ranet_mm.DataGuardHook'),
    dict(type='ranet_mm.RecordHook'),
    dict(type='ranet_mm.InterruptHook'),
    dict(type='ranet_mm.ProgressHook'),
]
randomness = dict(seed=0, deterministic=False)
