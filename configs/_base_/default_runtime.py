default_scope = 'mmpretrain'
default_hooks = dict(
    runtime_info=dict(type='ranet_mm.RuntimeInfoHook'),
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='ranet_mm.CheckpointHook', interval=1, max_keep_ckpts=2, save_best='auto'),
    final_test=dict(type='ranet_mm.FinalTestHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='VisualizationHook', enable=False),
)
custom_hooks = [
    dict(type='SyncBuffersHook'),  # batch statistics of several processes are averaged before they are used or saved
    dict(type='ranet_mm.ChannelsLastHook'),
    dict(type='ranet_mm.CheckpointGuardHook'),
    dict(type='ranet_mm.RecordHook'),
    dict(type='ranet_mm.InterruptHook'),
    dict(type='ranet_mm.ProgressHook'),
]
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='UniversalVisualizer', vis_backends=vis_backends)
log_level = 'INFO'
load_from = None
resume = False
randomness = dict(seed=0, deterministic=False)
