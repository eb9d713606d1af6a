_base_ = './vspw_720p.py'
train_dataloader = dict(dataset=dict(augment=dict(short_edges=[*range(480, 1088, 32), 1080], max_edge=1920)))
