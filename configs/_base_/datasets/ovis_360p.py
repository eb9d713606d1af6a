_base_ = ['./loaders.py', './crop_first.py']
data_root = 'data/ovis/'
num_classes = 25
postprocessor = dict(type='InstancePostprocessor', max_num=20)
train_dataloader = dict(
    dataset=dict(
        type='OVISDataset',
        data_root=data_root,
        ann_file='annotations/annotations_train.json',
        data_prefix=dict(img='train'),
        clip=dict(num_frames=1),
        augment=dict(short_edges=[240, 360, 480], max_edge=1333, flip=0.5),
    )
)
val_dataloader = dict(
    dataset=dict(
        type='OVISDataset',
        data_root=data_root,
        ann_file='annotations/annotations_valid.json',
        data_prefix=dict(img='valid'),
        test=dict(short_edge=360, max_edge=1333),
    )
)
test_dataloader = val_dataloader
val_evaluator = []  # the labels are private; tools/dataset_converters/split_train_dev.py makes a split to score on
test_evaluator = [dict(type='SubmissionWriter', out_dir='work_dirs/submission_ovis')]
