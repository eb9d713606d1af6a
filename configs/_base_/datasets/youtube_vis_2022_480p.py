# evaluated only, with a model of YouTube-VIS 2021
data_root = 'data/ytvis_2022/'
num_classes = 40
postprocessor = dict(type='InstancePostprocessor', max_num=10)
test_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        test_mode=True,
        type='YouTubeVISDataset',
        version=2022,
        data_root=data_root,
        ann_file='valid/instances.json',
        data_prefix=dict(img='valid/JPEGImages'),
        test=dict(short_edge=480, max_edge=1333),
    ),
)
test_evaluator = [dict(type='SubmissionWriter', out_dir='work_dirs/submission_ytvis_2022')]  # the labels are private
