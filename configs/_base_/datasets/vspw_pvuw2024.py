_base_ = './vspw_720p.py'
train_dataloader = dict(
    dataset=dict(
        augment=dict(
            short_edges=[
                480,
                512,
                544,
                576,
                608,
                640,
                672,
                704,
                736,
                768,
                800,
                832,
                864,
                896,
                928,
                960,
                992,
                1024,
                1056,
                1080,
            ],
            max_edge=1920,
        )
    )
)
val_dataloader = dict(dataset=dict(test=dict(short_edge=720, max_edge=1333)))
test_dataloader = val_dataloader
