_base_ = './minvis_swin-l_8xb1-t1-20k_ovis-480p.py'
edges = [480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800]
train_dataloader = dict(dataset=dict(augment=dict(short_edges=edges, max_edge=1333)))
val_dataloader = dict(dataset=dict(test=dict(short_edge=720)))
test_dataloader = val_dataloader
