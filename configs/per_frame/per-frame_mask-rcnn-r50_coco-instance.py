# Mask R-CNN of mmdet on every frame; identities by the overlap of masks, moved along the optical flow
_base_ = ['../_base_/datasets/coco_instance.py', '../_base_/default_runtime.py']
model = dict(
    type='PerFrameModel',
    num_classes=_base_.num_classes,
    detector='mmdet::mask_rcnn/mask-rcnn_r50_fpn_2x_coco.py',
    task='vis',
    score_thr=0.5,
)
