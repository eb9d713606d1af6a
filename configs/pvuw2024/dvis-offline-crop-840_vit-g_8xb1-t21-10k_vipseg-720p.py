_base_ = './dvis-offline-crop-630x1120_vit-g_8xb1-t21-10k_vipseg-720p.py'
train_dataloader = dict(dataset=dict(augment=dict(crop=dict(size=(840, 840)))))
