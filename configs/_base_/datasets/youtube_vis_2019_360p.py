_base_ = ['./loaders.py', './crop_first.py']
data_root = 'data/ytvis_2019/'
num_classes = 40
postprocessor = dict(type='InstancePostprocessor', max_num=10)
train_dataloader = dict(
    dataset=dict(
        type='YouTubeVISDataset',
        version=2019,
        data_root=data_root,
        ann_file='train.json',
        data_prefix=dict(img='train/JPEGImages'),
        filter_empty=True,
        clip=dict(num_frames=1),
        augment=dict(short_edges=[240, 360, 480], max_edge=768, crop_first=_base_.crop_first, flip=0.5),
    )
)
val_dataloader = dict(
    dataset=dict(
        type='YouTubeVISDataset',
        version=2019,
        data_root=data_root,
        ann_file='valid.json',
        data_prefix=dict(img='valid/JPEGImages'),
        test=dict(short_edge=360, max_edge=1333),
    )
)
test_dataloader = val_dataloader
val_evaluator = []  # the labels are private; tools/dataset_converters/split_train_dev.py makes a split to score on
test_evaluator = [dict(type='SubmissionWriter', out_dir='work_dirs/submission_ytvis_2019')]
