# VPSNet as its paper describes it; where the paper is silent, as the released code does
model = dict(
    type='VPSNet',
    data_preprocessor=dict(type='ClipPreprocessor'),
    detector=dict(
        backbone=dict(
            type='mmdet.ResNet',
            depth=50,
            frozen_stages=1,
            norm_cfg=dict(type='BN', requires_grad=True),
            norm_eval=True,
            style='pytorch',
        ),
        neck=dict(type='mmdet.FPN', in_channels=[256, 512, 1024, 2048], out_channels=256, num_outs=5),
        rpn_head=dict(
            type='mmdet.RPNHead',
            in_channels=256,
            feat_channels=256,
            anchor_generator=dict(
                type='mmdet.AnchorGenerator', scales=[8], ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64]
            ),
            bbox_coder=dict(type='mmdet.DeltaXYWHBBoxCoder', target_means=[0.0] * 4, target_stds=[1.0] * 4),
            loss_cls=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True),
            loss_bbox=dict(type='mmdet.SmoothL1Loss', beta=1 / 9),
            train_cfg=dict(
                assigner=dict(
                    type='mmdet.MaxIoUAssigner', pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3, ignore_iof_thr=-1
                ),
                sampler=dict(
                    type='mmdet.RandomSampler', num=256, pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=False
                ),
                allowed_border=0,
                pos_weight=-1,
                debug=False,
            ),
            test_cfg=dict(nms_pre=2000, max_per_img=1000, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0),
        ),
        proposals=dict(nms_pre=2000, max_per_img=2000, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0),
        roi_head=dict(
            type='mmdet.StandardRoIHead',
            bbox_roi_extractor=dict(
                type='mmdet.SingleRoIExtractor',
                roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=2),
                out_channels=256,
                featmap_strides=[4, 8, 16, 32],
            ),
            bbox_head=dict(
                type='mmdet.Shared2FCBBoxHead',
                in_channels=256,
                fc_out_channels=1024,
                roi_feat_size=7,
                reg_class_agnostic=False,
                bbox_coder=dict(
                    type='mmdet.DeltaXYWHBBoxCoder', target_means=[0.0] * 4, target_stds=[0.1, 0.1, 0.2, 0.2]
                ),
                loss_cls=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=False),
                loss_bbox=dict(type='mmdet.SmoothL1Loss', beta=1.0),
            ),
            mask_roi_extractor=dict(
                type='mmdet.SingleRoIExtractor',
                roi_layer=dict(type='RoIAlign', output_size=14, sampling_ratio=2),
                out_channels=256,
                featmap_strides=[4, 8, 16, 32],
            ),
            mask_head=dict(
                type='mmdet.FCNMaskHead',
                num_convs=4,
                in_channels=256,
                conv_out_channels=256,
                loss_mask=dict(type='mmdet.CrossEntropyLoss', use_mask=True),
            ),
            train_cfg=dict(
                assigner=dict(
                    type='mmdet.MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5, ignore_iof_thr=-1
                ),
                sampler=dict(
                    type='mmdet.RandomSampler', num=512, pos_fraction=0.25, neg_pos_ub=-1, add_gt_as_proposals=True
                ),
                mask_size=28,
                pos_weight=-1,
                debug=False,
            ),
            test_cfg=dict(
                score_thr=0.6,
                nms=dict(type='nms', iou_threshold=0.5, class_agnostic=True),
                max_per_img=100,
                mask_thr_binary=0.5,
            ),
        ),
        semantic_head=dict(type='UPSNetSemanticHead'),
    ),
    panoptic=dict(min_stuff_area=2048 / (1024 * 2048)),
)
