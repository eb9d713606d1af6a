# 100 epochs of COCO in batches of 16
_base_ = './schedule_coco-50e.py'
param_scheduler = dict(milestones=[655556, 710184])
train_cfg = dict(max_iters=737500)
