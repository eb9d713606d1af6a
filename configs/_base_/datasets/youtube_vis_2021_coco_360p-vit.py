_base_ = './youtube_vis_2021_coco_360p.py'
train_dataloader = dict(
    dataset=dict(
        datasets=dict(
            coco=dict(augment=dict(short_edges=[288, 320, 352, 384, 416, 448, 480, 512], max_edge=768)),
            videos=dict(augment=dict(short_edges=[288, 320, 352, 384, 416, 448, 480, 512], max_edge=768)),
        )
    )
)
val_dataloader = dict(dataset=dict(test=dict(short_edge=360, max_edge=1333)))
test_dataloader = val_dataloader
