_base_ = './loaders.py'
data_root = 'data/cityscapes_vps/'
num_classes = 19
postprocessor = dict(type='PanopticPostprocessor', num_things=8, score_thr=0.8, overlap_thr=0.8)
train_dataloader = dict(
    dataset=dict(
        type='CityscapesVPSDataset',
        data_root=data_root,
        ann_file='panoptic_im_train_city_vps.json',
        data_prefix=dict(img='train/img', seg='train/panoptic_inst'),
        clip=dict(num_frames=1),
        augment=dict(
            short_edges=[832, 896, 960, 1024, 1088, 1152, 1216, 1280],
            max_edge=2560,
            crop=dict(size=(800, 1600)),
            flip=0.5,
        ),
    )
)
val_dataloader = dict(
    dataset=dict(
        type='CityscapesVPSDataset',
        data_root=data_root,
        ann_file='im_all_info_val_city_vps.json',
        annotated='panoptic_im_val_city_vps.json',
        data_prefix=dict(img='val/img_all'),
        test=dict(short_edge=1024, max_edge=2048),
    )
)
test_dataloader = val_dataloader
val_evaluator = [
    dict(
        type='VPQMetric',
        flavour='cityscapes',
        gt_json=data_root + 'panoptic_gt_val_city_vps.json',
        gt_dir=data_root + 'val/panoptic_video',
    )
]
test_evaluator = val_evaluator
