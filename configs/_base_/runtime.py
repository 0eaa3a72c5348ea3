"""What every run shares: scope, seed, hooks, logs, and the two test protocols."""

default_scope = 'opencd'
custom_imports = dict(imports=['hsonet_mm'], allow_failed_imports=False)
__import__('hsonet_mm')  # MMEngine heeds custom_imports only in configs without read_base()
randomness = dict(seed=42)

env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))
sync_bn = 'torch'  # batch norm over all GPUs; no effect in one process

# How a test set is scored: each image as a whole, or cut into 256 x 256 tiles that the
# network sees one by one. The same weights differ by several points of F1 between the two.
protocols = dict(
    whole=dict(mode='whole'),
    tiles_256=dict(mode='slide', crop_size=(256, 256), stride=(256, 256)))

val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
tta_model = dict(type='hsonet_mm.ChangeTTAModel')
val_evaluator = dict(type='hsonet_mm.ChangeMetric', protocol='whole')
test_evaluator = dict(type='hsonet_mm.ChangeMetric', protocol='whole')

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='hsonet_mm.ChangeCheckpointHook',
        by_epoch=False,
        interval=4000,
        max_keep_ckpts=2,
        save_best='changed/best_f1',  # F1 at the best threshold of validation
        rule='greater'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='CDVisualizationHook', interval=1))
custom_hooks = [dict(type='hsonet_mm.FiniteLossHook')]

vis_backends = [dict(type='CDLocalVisBackend')]
visualizer = dict(type='CDLocalVisualizer', name='visualizer', vis_backends=vis_backends, alpha=1.0)
log_processor = dict(by_epoch=False)
log_level = 'INFO'
load_from = None
resume = False
