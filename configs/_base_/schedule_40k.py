"""The training recipe of Open-CD's LEVIR-CD configs: AdamW, 1k warm-up, linear decay, 40k iterations."""

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.999), weight_decay=0.05))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1000),
    dict(type='PolyLR', power=1.0, begin=1000, end=40000, eta_min=0.0, by_epoch=False),
]
train_cfg = dict(type='hsonet_mm.ResumableTrainLoop', max_iters=40000, val_interval=4000)
