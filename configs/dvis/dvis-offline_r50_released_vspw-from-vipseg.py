# VIPSeg weights scored on VSPW without fine-tuning: the classes of panoptic segments, votes where they leave void
_base_ = './dvis-offline_r50_released_vipseg-720p.py'
model = dict(postprocessor=dict(_delete_=True, type='SemanticPostprocessor', around=dict(_base_.postprocessor)))
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='VSPWDataset',
        data_root='data/VSPW_480p/',
        ann_file='val.txt',
        test_mode=True,
        test=dict(short_edge=720, max_edge=1333),
    )
)
test_evaluator = [dict(type='VSSMetric', gt_root='data/VSPW_480p/')]
