# pairs of a key frame and an annotated neighbour, five frames apart, for VPSNet; its semantic head also learns the
# pixels of things without an instance
_base_ = './cityscapes_vps.py'
num_things = 8
train_dataloader = dict(
    dataset=dict(
        data_prefix=dict(semantic='train/labelmap'),
        clip=dict(_delete_=True, num_frames=2, frame_range=1, order='key_first'),
        augment=dict(
            _delete_=True, scale=dict(base=(1024, 2048), scales=(0.8, 1.25)), crop=dict(size=(800, 1600)), flip=0.5
        ),
    )
)
