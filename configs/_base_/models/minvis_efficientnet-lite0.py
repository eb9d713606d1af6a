# a small segmenter on EfficientNet-Lite0 with ImageNet weights, for CPUs
_base_ = './minvis_toy.py'
model = dict(
    data_preprocessor=dict(type='ClipPreprocessor', mean=[127.0] * 3, std=[128.0] * 3),
    segmenter=dict(
        backbone=dict(_delete_=True, type='EfficientNetLite', pretrained='imagenet'),
        in_channels=(24, 40, 112, 320),
        pixel_decoder=dict(num_layers=3),
    ),
)
