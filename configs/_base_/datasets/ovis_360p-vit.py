_base_ = './ovis_360p.py'
train_dataloader = dict(dataset=dict(augment=dict(short_edges=[288, 320, 352, 384, 416, 448, 480, 512], max_edge=1333)))
