# SegFormer of mmseg on every frame
_base_ = '../_base_/default_runtime.py'
num_classes = 150
model = dict(
    type='PerFrameModel',
    num_classes=num_classes,
    detector='mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py',
    task='vss',
    dataset_meta='ade20k',
)
