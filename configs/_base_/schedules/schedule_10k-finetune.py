# a fine-tune at a quarter of the rate
_base_ = './schedule_20k.py'
optim_wrapper = dict(optimizer=dict(lr=2.5e-5))
param_scheduler = dict(milestones=[7000])
train_cfg = dict(max_iters=10000, val_interval=10001)
