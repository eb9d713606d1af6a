# written by tools/dataset_converters/make_toy_videos.py
data_root = '{{$TOY_DATA:data/toy}}/'
num_classes = 11
postprocessor = dict(type='PanopticPostprocessor', num_things=6, score_thr=0.5, overlap_thr=0.6)
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    persistent_workers=True,
    prefetch_factor=4,
    sampler=dict(type='ClipSampler'),
    dataset=dict(
        type='VIPSegDataset',
        class_list=None,
        data_root=data_root,
        ann_file='panoptic_gt_VIPSeg_train.json',
        data_prefix=dict(img='images', seg='panomasksRGB'),
        clip=dict(num_frames=1),
        augment=dict(flip=0.5),
    ),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type='VIPSegDataset',
        class_list=None,
        data_root=data_root,
        ann_file='panoptic_gt_VIPSeg_val.json',
        data_prefix=dict(img='images', seg='panomasksRGB'),
        test_mode=True,
    ),
)
truth = dict(gt_json=data_root + 'panoptic_gt_VIPSeg_val.json', gt_dir=data_root + 'panomasksRGB')
test_evaluator = [dict(type='VPQMetric', **truth), dict(type='STQMetric', **truth)]
