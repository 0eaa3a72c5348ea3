"""What training on CPUs does to its pairs: scales, crops around changes, quarter turns, flips, dates exchanged, colours."""

train_pipeline = [
    dict(type='hsonet_mm.MultiImgLoadImageFromFile'),
    dict(type='hsonet_mm.MultiImgLoadAnnotations'),
    dict(type='hsonet_mm.MultiImgRandomScale', scale_range=(0.8, 1.25), min_size=128),
    dict(type='hsonet_mm.MultiImgBalancedCrop', crop_size=128, changed_prob=0.5),
    dict(type='hsonet_mm.MultiImgRandomRot90', prob=0.75),
    dict(type='MultiImgRandomFlip', prob=0.5, direction='horizontal'),
    dict(type='MultiImgExchangeTime', prob=0.5),
    dict(
        type='MultiImgPhotoMetricDistortion',
        brightness_delta=20,
        contrast_range=(0.8, 1.25),
        saturation_range=(0.7, 1.3),
        hue_delta=8),
    dict(type='MultiImgPackSegInputs'),
]
