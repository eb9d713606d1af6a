# the toy videos in VSPW's layout
_base_ = './toy.py'
data_root = '{{$TOY_DATA:data/toy}}/vspw/'
postprocessor = dict(_delete_=True, type='SemanticPostprocessor')
videos = dict(_delete_=True, type='VSPWDataset', categories='categories.json', data_root=data_root)
train_dataloader = dict(dataset=dict(videos, ann_file='train.txt', augment=dict(flip=0.5)))
test_dataloader = dict(dataset=dict(videos, ann_file='val.txt', test_mode=True))
test_evaluator = [dict(type='VSSMetric', gt_root=data_root)]
