# EoMT: queries in the last blocks of DINOv2 with registers; identities by the cosine similarity of the queries
model = dict(
    type='DVIS',
    data_preprocessor=dict(type='ClipPreprocessor', divisor=16),
    segmenter=dict(
        type='EoMTSegmenter',
        backbone=dict(type='DINOv2', arch='large', patch_size=16, table=40, registers=4, frozen=False),
        num_queries=200,
        num_blocks=4,
        loss=dict(type='QuerySetLoss', matching='frame'),
    ),
    tracker=dict(type='CosineTracker'),
)
