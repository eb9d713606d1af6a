# the learning rate falls by 0.6 from each block to the one before it
_base_ = './videomt.py'
model = dict(segmenter=dict(backbone=dict(arch='small'), num_blocks=3))
depth = 12
layer_rates = {
    **{f'backbone.blocks.{i}.': 0.6 ** (depth - 1 - i) for i in range(depth)},
    **{f'backbone.{name}': 0.6 ** (depth - 1) for name in ('patch_embed', 'cls_token', 'register_tokens', 'pos_embed')},
}
