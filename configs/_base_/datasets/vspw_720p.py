_base_ = './loaders.py'
data_root = 'data/VSPW_480p/'
num_classes = 124
postprocessor = dict(type='SemanticPostprocessor')
train_dataloader = dict(
    dataset=dict(
        type='VSPWDataset',
        data_root=data_root,
        ann_file='train.txt',
        clip=dict(num_frames=1),
        augment=dict(short_edges=[480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800], max_edge=1333, flip=0.5),
    )
)
val_dataloader = dict(
    dataset=dict(type='VSPWDataset', data_root=data_root, ann_file='val.txt', test=dict(short_edge=720, max_edge=1333))
)
test_dataloader = val_dataloader
val_evaluator = [dict(type='VSSMetric', gt_root=data_root)]
test_evaluator = val_evaluator
