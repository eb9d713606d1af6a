# the learning rate falls by 0.8 from each block to the one before it; that of the blocks with queries is full
_base_ = './eomt-dinov3.py'
model = dict(segmenter=dict(backbone=dict(arch='large'), num_blocks=4))
depth = 24
layer_rates = {
    **{f'backbone.blocks.{i}.': 1.0 if i >= depth - 4 else 0.8 ** (depth - 1 - i) for i in range(depth)},
    **{f'backbone.{name}': 0.8 ** (depth - 1) for name in ('patch_embed', 'cls_token', 'register_tokens')},
}
