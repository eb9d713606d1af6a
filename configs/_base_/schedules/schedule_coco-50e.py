# 50 epochs of COCO in batches of 16
_base_ = './schedule_20k.py'
param_scheduler = dict(milestones=[327778, 355092])
train_cfg = dict(max_iters=368750, val_interval=20000)
auto_scale_lr = dict(base_batch_size=16)
