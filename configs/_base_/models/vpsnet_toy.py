# about 4 M parameters, for frames of 96 x 160 on a CPU
_base_ = './vpsnet.py'
model = dict(
    detector=dict(
        backbone=dict(depth=18, base_channels=32, frozen_stages=-1, norm_eval=False),
        neck=dict(in_channels=[32, 64, 128, 256], out_channels=64),
        rpn_head=dict(
            in_channels=64,
            feat_channels=64,
            anchor_generator=dict(scales=[4]),
            train_cfg=dict(allowed_border=-1),
            test_cfg=dict(nms_pre=500, max_per_img=256),
        ),
        proposals=dict(nms_pre=500, max_per_img=256),
        roi_head=dict(
            bbox_roi_extractor=dict(out_channels=64),
            bbox_head=dict(in_channels=64, fc_out_channels=256),
            mask_roi_extractor=dict(out_channels=64),
            mask_head=dict(num_convs=2, in_channels=64, conv_out_channels=64),
            train_cfg=dict(sampler=dict(num=64)),
            test_cfg=dict(score_thr=0.5),
        ),
        semantic_head=dict(in_channels=64, channels=(64, 32, 32), norm_groups=8),
    ),
    panoptic=dict(min_stuff_area=0.0),
)
