_base_ = './loaders.py'
data_root = 'data/cityscapes/'
num_classes, num_things = 19, 8
train_dataloader = dict(
    dataset=dict(
        type='CityscapesPanopticDataset',
        data_root=data_root,
        ann_file='gtFine/cityscapes_panoptic_train.json',
        data_prefix=dict(
            img='leftImg8bit/train', seg='gtFine/cityscapes_panoptic_train', neighbours='leftImg8bit_sequence/train'
        ),
        clip=dict(num_frames=2, frame_range=1, order='key_first'),
        augment=dict(scale=dict(base=(1024, 2048), scales=(0.8, 1.25)), crop=dict(size=(800, 1600)), flip=0.5),
    )
)
test_dataloader = dict(
    dataset=dict(
        type='CityscapesPanopticDataset',
        data_root=data_root,
        ann_file='gtFine/cityscapes_panoptic_val.json',
        data_prefix=dict(
            img='leftImg8bit/val', seg='gtFine/cityscapes_panoptic_val', neighbours='leftImg8bit_sequence/val'
        ),
        test=dict(short_edge=1024, max_edge=2048),
    )
)
val_dataloader = test_dataloader
test_evaluator = [
    dict(
        type='PanopticQualityMetric',
        gt_json=data_root + 'gtFine/cityscapes_panoptic_val.json',
        gt_dir=data_root + 'gtFine/cityscapes_panoptic_val',
    )
]
val_evaluator = test_evaluator
