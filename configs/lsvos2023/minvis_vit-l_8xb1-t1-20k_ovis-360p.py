_base_ = [
    '../_base_/models/minvis.py',
    '../_base_/backbones/vit-l.py',
    '../_base_/datasets/ovis_360p-vit.py',
    '../_base_/schedules/schedule_20k.py',
    '../_base_/finetune_runtime.py',
]
model = dict(
    num_classes=_base_.num_classes, segmenter=_base_.segmenter, postprocessor=dict(_base_.postprocessor, max_num=10)
)
load_from = 'work_dirs/mask2former_vit-l_8xb2-737k_coco-instance/iter_737500.pth'
