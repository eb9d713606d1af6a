# the test split, whose labels are private: writes a submission
_base_ = './dvis-offline_swin-l_8xb1-t21-20k_vipseg-720p.py'
test_dataloader = dict(dataset=dict(ann_file='panoptic_gt_VIPSeg_test.json'))
test_evaluator = [dict(type='SubmissionWriter', out_dir='work_dirs/submission_vipseg_test')]
