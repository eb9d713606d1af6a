# the test split, whose labels are private: writes a submission
_base_ = './dvis-offline_vit-g_8xb1-t21-10k_vspw-720p.py'
test_dataloader = dict(dataset=dict(ann_file='test.txt'))
test_evaluator = [dict(type='SubmissionWriter', out_dir='work_dirs/submission_vspw_test')]
