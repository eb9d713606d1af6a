_base_ = './ovis_360p.py'
train_dataloader = dict(
    dataset=dict(augment=dict(short_edges=[480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800], max_edge=1333))
)
val_dataloader = dict(dataset=dict(test=dict(short_edge=720, max_edge=1333)))
test_dataloader = val_dataloader
