_base_ = './youtube_vis_2019_360p.py'
data_root = 'data/ytvis_2021/'
train_dataloader = dict(
    dataset=dict(
        version=2021,
        data_root=data_root,
        augment=dict(_delete_=True, short_edges=[240, 360, 480], max_edge=768, flip=0.5),
    )
)
val_dataloader = dict(dataset=dict(version=2021, data_root=data_root))
test_dataloader = val_dataloader
test_evaluator = [dict(type='SubmissionWriter', out_dir='work_dirs/submission_ytvis_2021')]
