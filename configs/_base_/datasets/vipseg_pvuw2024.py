_base_ = './vipseg.py'
train_dataloader = dict(dataset=dict(augment=dict(short_edges=[*range(480, 1057, 32), 1080], max_edge=1920)))
val_dataloader = dict(dataset=dict(test=dict(short_edge=720, max_edge=1333)))
test_dataloader = val_dataloader
