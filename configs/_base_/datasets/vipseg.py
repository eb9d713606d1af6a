_base_ = './loaders.py'
data_root = 'data/VIPSeg/VIPSeg_720P/'
num_classes = 124
postprocessor = dict(type='PanopticPostprocessor', num_things=58, score_thr=0.8, overlap_thr=0.8)
train_dataloader = dict(
    dataset=dict(
        type='VIPSegDataset',
        data_root=data_root,
        ann_file='panoptic_gt_VIPSeg_train.json',
        data_prefix=dict(img='images', seg='panomasksRGB'),
        clip=dict(num_frames=1),
        augment=dict(short_edges=[480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800], max_edge=1333, flip=0.5),
    )
)
val_dataloader = dict(
    dataset=dict(
        type='VIPSegDataset',
        data_root=data_root,
        ann_file='panoptic_gt_VIPSeg_val.json',
        data_prefix=dict(img='images', seg='panomasksRGB'),
        test=dict(short_edge=720, max_edge=1333),
    )
)
test_dataloader = val_dataloader
val_evaluator = [
    dict(type='VPQMetric', gt_json=data_root + 'panoptic_gt_VIPSeg_val.json', gt_dir=data_root + 'panomasksRGB'),
    dict(type='STQMetric', gt_json=data_root + 'panoptic_gt_VIPSeg_val.json', gt_dir=data_root + 'panomasksRGB'),
]
test_evaluator = val_evaluator
