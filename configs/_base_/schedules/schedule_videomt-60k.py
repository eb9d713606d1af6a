# 60k iterations of VidEoMT with 8 clips: rates as in EoMT
_base_ = './schedule_eomt-12e.py'
param_scheduler = dict(end=60000)
train_cfg = dict(max_iters=60000, val_interval=60001)
auto_scale_lr = dict(base_batch_size=8)
