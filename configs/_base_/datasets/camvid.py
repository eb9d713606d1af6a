_base_ = './loaders.py'
data_root = 'data/camvid/'
num_classes = 11
postprocessor = dict(type='SemanticPostprocessor')
dataset = dict(type='CamVidDataset', data_root=data_root)
train_dataloader = dict(
    dataset=dict(
        dataset,
        ann_file='train.txt',
        clip=dict(num_frames=1),
        augment=dict(short_edges=[288, 324, 360, 396, 432], crop=dict(size=(288, 384)), flip=0.5, ignore_void=True),
    )
)
test_dataloader = dict(dataset=dict(dataset, ann_file='test.txt', test_mode=True, test=dict(short_edge=360)))
val_dataloader = dict(dataset=dict(dataset, ann_file='val.txt', test_mode=True, test=dict(short_edge=360)))
test_evaluator = [dict(type='VSSMetric', gt_dir=data_root + 'testannot', first_value=0)]
val_evaluator = [dict(type='VSSMetric', gt_dir=data_root + 'valannot', first_value=0)]
val_cfg = dict(type='ValLoop')
