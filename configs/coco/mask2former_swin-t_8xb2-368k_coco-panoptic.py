_base_ = [
    '../_base_/models/minvis.py',
    '../_base_/backbones/swin-t_pretrained.py',
    '../_base_/datasets/coco_panoptic.py',
    '../_base_/schedules/schedule_coco-50e.py',
    '../_base_/default_runtime.py',
]
model = dict(num_classes=_base_.num_classes, segmenter=_base_.segmenter, postprocessor=_base_.postprocessor)
train_dataloader = dict(batch_size=2)
