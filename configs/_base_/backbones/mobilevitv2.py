# MobileViTv2 at width 2.0; the paper does not name the width
segmenter = dict(
    backbone=dict(_delete_=True, type='HFBackbone', config=dict(model_type='mobilevitv2', width_multiplier=2.0)),
    in_channels=(256, 512, 768, 1024),
    num_queries=200,
)
