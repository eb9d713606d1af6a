# the model of YouTube-VIS 2021 on the videos of 2022, which have no training set of their own
_base_ = './dvis-offline_swin-l_8xb1-t21-40k_ytvis2021-480p.py'
test_dataloader = dict(dataset=dict(version=2022, data_root='data/ytvis_2022/', ann_file='valid/instances.json'))
test_evaluator = [dict(type='SubmissionWriter', out_dir='work_dirs/submission_ytvis_2022')]
