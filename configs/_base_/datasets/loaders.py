# what all benchmarks share: one clip per process in training, whole videos at test time
train_dataloader = dict(batch_size=1, num_workers=4, persistent_workers=True, sampler=dict(type='ClipSampler'))
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(test_mode=True),
)
test_dataloader = val_dataloader
