_base_ = './loaders.py'
data_root = 'data/ytvis_2021/'
num_classes = 40
postprocessor = dict(type='InstancePostprocessor', max_num=10)
# random resize and crop before the other transforms, in the recipes that set it
crop_first = dict(short_edges=[400, 500, 600], max_edge=1333, between=(384, 600), prob=0.5)
train_dataloader = dict(
    dataset=dict(
        type='YouTubeVISDataset',
        version=2021,
        data_root=data_root,
        ann_file='train.json',
        data_prefix=dict(img='train/JPEGImages'),
        filter_empty=True,
        clip=dict(num_frames=1),
        augment=dict(short_edges=[240, 360, 480], max_edge=768, flip=0.5),
    )
)
val_dataloader = dict(
    dataset=dict(
        type='YouTubeVISDataset',
        version=2021,
        data_root=data_root,
        ann_file='valid.json',
        data_prefix=dict(img='valid/JPEGImages'),
        test=dict(short_edge=360, max_edge=1333),
    )
)
test_dataloader = val_dataloader
val_evaluator = []  # the labels are private; tools/dataset_converters/split_train_dev.py makes a split to score on
test_evaluator = [dict(type='SubmissionWriter', out_dir='work_dirs/submission_ytvis_2021')]
