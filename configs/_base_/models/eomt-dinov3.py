# EoMT with DINOv3; the masks of the first block with queries end within the first 3000 iterations of 12 epochs
_base_ = './eomt.py'
model = dict(
    segmenter=dict(
        backbone=dict(_delete_=True, type='DINOv3', arch='large', patch_size=16, registers=4),
        anneal=dict(start=(1 / 6, 2 / 3), length=1 / 6, first_block=(0.0, 3000 / 88692)),
    )
)
