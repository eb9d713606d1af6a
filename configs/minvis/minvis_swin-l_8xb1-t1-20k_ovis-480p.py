_base_ = [
    '../_base_/models/minvis.py',
    '../_base_/backbones/swin-l.py',
    '../_base_/datasets/ovis_480p.py',
    '../_base_/schedules/schedule_20k.py',
    '../_base_/finetune_runtime.py',
]
model = dict(
    num_classes=_base_.num_classes, segmenter=_base_.segmenter, postprocessor=dict(_base_.postprocessor, max_num=10)
)
load_from = 'checkpoints/mask2former_swin-l_coco-instance.pth'
