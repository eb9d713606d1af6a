# DeepLabV3+ of mmseg on every frame
_base_ = '../_base_/default_runtime.py'
num_classes = 19
model = dict(
    type='PerFrameModel',
    num_classes=num_classes,
    detector='mmseg::deeplabv3plus/deeplabv3plus_r50-d8_4xb2-40k_cityscapes-512x1024.py',
    task='vss',
    dataset_meta='cityscapes',
)
