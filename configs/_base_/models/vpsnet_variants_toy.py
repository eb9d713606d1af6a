_base_ = './vpsnet_variants.py'
flow = dict(input_scale=1.0)
fuse = dict(base=dict(channels=64), align=dict(channels=64), attend=dict(channels=64), fuse=dict(channels=64))
tracking = dict(
    raw=dict(head=dict(in_channels=64, channels=256)),
    fused=dict(head=dict(in_channels=64, channels=256)),
    fused_cls_sort=dict(head=dict(in_channels=64, channels=256)),
    fused_iou_match=dict(head=dict(in_channels=64, channels=256)),
)
