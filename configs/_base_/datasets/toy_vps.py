# written by tools/dataset_converters/make_toy_videos.py --scene blots --num-val 48
_base_ = './toy.py'
data_root = '{{$TOY_DATA:data/toy_blots}}/'
num_things = 6
dataset = dict(data_root=data_root)
train_dataloader = dict(
    batch_size=4, dataset=dict(data_root=data_root, clip=dict(num_frames=2, frame_range=3, order='key_first'))
)
test_dataloader = dict(dataset=dict(data_root=data_root))
truth = dict(gt_json=data_root + 'panoptic_gt_VIPSeg_val.json', gt_dir=data_root + 'panomasksRGB')
test_evaluator = [dict(type='VPQMetric', windows=(1, 5, 10, 15), **truth), dict(type='STQMetric', **truth)]
