"""The head of the plain U-Nets, whose in_channels are those of the backbone, of both dates."""

decode_head = dict(
    type='hsonet_mm.UNetHead',
    in_index=[0, 1, 2, 3],
    decoder_channels=(256, 128, 64, 32, 16),
    dropout_ratio=0.0,
    num_classes=2,
    out_channels=1,
    threshold=0.5,
    prior=0.02,  # the start of HSONet's classifier
    norm_cfg=dict(type='BN', requires_grad=True),
    align_corners=False,
    loss_decode=dict(type='mmseg.CrossEntropyLoss', use_sigmoid=True))
