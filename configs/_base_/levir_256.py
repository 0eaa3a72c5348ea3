"""LEVIR-CD (Chen & Shi 2020) in its official split; 256 x 256 crops, half of the time where something changed
[choice], and otherwise Open-CD's augmentation.

The folder holds {train,val,test}/{A,B,label}. Its place is one value: the environment variable
LEVIR_CD_ROOT, or --data-root of the tools.
"""

data_root = '${LEVIR_CD_ROOT:-data/LEVIR-CD}'

train_pipeline = [
    dict(type='hsonet_mm.MultiImgLoadImageFromFile'),
    dict(type='hsonet_mm.MultiImgLoadAnnotations'),
    dict(type='MultiImgRandomRotate', prob=0.5, degree=180),
    dict(type='hsonet_mm.MultiImgBalancedCrop', crop_size=256, changed_prob=0.5),
    dict(type='MultiImgRandomFlip', prob=0.5, direction='horizontal'),
    dict(type='MultiImgRandomFlip', prob=0.5, direction='vertical'),
    dict(
        type='MultiImgPhotoMetricDistortion',
        brightness_delta=10,
        contrast_range=(0.8, 1.2),
        saturation_range=(0.8, 1.2),
        hue_delta=10),
    dict(type='MultiImgPackSegInputs'),
]
test_pipeline = [
    dict(type='hsonet_mm.MultiImgLoadImageFromFile'),
    dict(type='hsonet_mm.MultiImgLoadAnnotations'),
    dict(type='MultiImgPackSegInputs'),
]
tta_pipeline = [  # of test.py --tta
    dict(type='hsonet_mm.MultiImgLoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='MultiImgRandomFlip', prob=prob, direction=direction)
             for prob, direction in ((0.0, 'horizontal'), (1.0, 'horizontal'), (1.0, 'vertical'))],
            [dict(type='hsonet_mm.MultiImgLoadAnnotations')],
            [dict(type='MultiImgPackSegInputs')],
        ]),
]

train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='hsonet_mm.SeededSampler', shuffle=True),
    dataset=dict(
        type='hsonet_mm.ChangeDataset',
        data_root=data_root,
        data_prefix=dict(img_path_from='train/A', img_path_to='train/B', seg_map_path='train/label'),
        pipeline=train_pipeline))
test_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='hsonet_mm.ChangeDataset',
        data_root=data_root,
        data_prefix=dict(img_path_from='test/A', img_path_to='test/B', seg_map_path='test/label'),
        test_mode=True,
        pipeline=test_pipeline))
val_dataloader = dict(
    test_dataloader,
    dataset=dict(
        test_dataloader['dataset'],
        data_prefix=dict(img_path_from='val/A', img_path_to='val/B', seg_map_path='val/label')))
