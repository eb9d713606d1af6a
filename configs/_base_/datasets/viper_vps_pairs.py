# pairs of a key frame and a neighbour at most five frames away, for VPSNet
_base_ = './viper_vps.py'
num_things = 10
train_dataloader = dict(
    dataset=dict(
        clip=dict(_delete_=True, num_frames=2, frame_range=5, order='key_first'),
        augment=dict(
            _delete_=True, scale=dict(base=(1080, 1920), scales=(0.8, 1.25)), crop=dict(size=(800, 1600)), flip=0.5
        ),
    )
)
