_base_ = './loaders.py'
data_root = 'data/viper_vps/'
num_classes = 23
postprocessor = dict(type='PanopticPostprocessor', num_things=10, score_thr=0.8, overlap_thr=0.8)
train_dataloader = dict(
    dataset=dict(
        type='VIPERVPSDataset',
        data_root=data_root,
        ann_file='panoptic_gt_VIPER_train.json',
        data_prefix=dict(img='train/img', seg='train/panomasksRGB'),
        clip=dict(num_frames=1),
        augment=dict(
            short_edges=[864, 918, 972, 1026, 1080, 1134, 1188, 1242, 1296, 1350],
            max_edge=2400,
            crop=dict(size=(800, 1600)),
            flip=0.5,
        ),
    )
)
val_dataloader = dict(
    dataset=dict(
        type='VIPERVPSDataset',
        data_root=data_root,
        ann_file='panoptic_gt_VIPER_val_day.json',
        data_prefix=dict(img='val_day/img', seg='val_day/panomasksRGB'),
        test=dict(short_edge=1080, max_edge=1920),
    )
)
test_dataloader = val_dataloader
val_evaluator = [
    dict(
        type='VPQMetric',
        flavour='viper',
        gt_json=data_root + 'panoptic_gt_VIPER_val_day.json',
        gt_dir=data_root + 'val_day/panomasksRGB',
    )
]
test_evaluator = val_evaluator
