# twice the rate of DINOv2, and a longer warm-up
_base_ = './schedule_eomt-12e.py'
optim_wrapper = dict(optimizer=dict(lr=2e-4))
param_scheduler = dict(warm_up=(2000, 3000))
