_base_ = './loaders.py'
data_root = 'data/davis2016/'
num_classes = 1
postprocessor = dict(type='InstancePostprocessor', max_num=10)
dataset = dict(
    type='DAVISDataset', data_root=data_root, data_prefix=dict(img='JPEGImages/480p', seg='Annotations/480p')
)
train_dataloader = dict(
    dataset=dict(
        dataset,
        ann_file='ImageSets/480p/train.txt',
        clip=dict(num_frames=1),
        augment=dict(short_edges=[192, 208, 224, 240, 256], crop=dict(size=(192, 320)), flip=0.5),
    )
)
test_dataloader = dict(
    dataset=dict(dataset, ann_file='ImageSets/480p/val.txt', test_mode=True, test=dict(short_edge=216))
)
val_dataloader = test_dataloader
test_evaluator = [dict(type='DAVISMetric', gt_dir=data_root + 'Annotations/480p')]
val_evaluator = test_evaluator
val_cfg = dict(type='ValLoop')
