# the parts in which the variants of VPSNet differ
flow = dict(type='DISFlow', preset='medium', input_scale=0.5)
fuse = dict(
    base=dict(type='TemporalFuse', align=False, attend=False),
    align=dict(type='TemporalFuse', attend=False),
    attend=dict(type='TemporalFuse', align=False),
    fuse=dict(type='TemporalFuse'),
)
tracking = dict(
    cls_sort=dict(associator=dict(type='RankAssociator')),
    raw=dict(head=dict(type='TrackEmbedHead'), associator=dict(type='AffinityAssociator'), feature='raw'),
    fused=dict(head=dict(type='TrackEmbedHead'), associator=dict(type='AffinityAssociator'), feature='fused'),
    fused_cls_sort=dict(head=dict(type='TrackEmbedHead'), associator=dict(type='RankAssociator')),
    fused_iou_match=dict(head=dict(type='TrackEmbedHead'), associator=dict(type='FlowIoUAssociator', min_iou=0.1)),
)
class_layers = (
    'roi_head.bbox_head.fc_cls',
    'roi_head.bbox_head.fc_reg',
    'roi_head.mask_head.conv_logits',
    'semantic_head.classifier',
)
hooks = {  # layers that a variant trains from new, because the checkpoint before it has other classes or lacks them
    name: [dict(type='CheckpointLoadingHook', allow_mismatch=(*class_layers, *new)), dict(type='ClassCountHook')]
    for name, new in dict(base=(), fuse=('fuse',), track=('track_head',), fusetrack=('fuse', 'track_head')).items()
}
