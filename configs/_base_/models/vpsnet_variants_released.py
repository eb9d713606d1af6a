# what the released code does in place of the paper
_base_ = './vpsnet_variants.py'
fuse = dict(fuse=dict(gather='mean', refine=True, warp='twice', init='xavier'))
released_head = dict(type='TrackEmbedHead', similarity='dot', init='normal', loss_weight=0.5)
tracking = dict(
    raw=dict(head=dict(similarity='dot', init='normal', loss_weight=0.5), associator=dict(iou='box')),
    fused=dict(head=dict(similarity='dot', init='normal', loss_weight=0.5), associator=dict(iou='box')),
)
