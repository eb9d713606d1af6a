# Mask2Former of mmdet on every frame, without the queries that MinVIS associates
_base_ = ['../_base_/datasets/coco_panoptic.py', '../_base_/default_runtime.py']
model = dict(
    type='PerFrameModel',
    num_classes=_base_.num_classes,
    detector='mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py',
    task='vps',
    num_things=80,
)
