# 40k iterations of VidEoMT with 8 clips: rates as in EoMT
_base_ = './schedule_eomt-12e.py'
param_scheduler = dict(end=40000)
train_cfg = dict(max_iters=40000, val_interval=40001)
auto_scale_lr = dict(base_batch_size=8)
