# the learning rate falls by 0.8 from each block to the one before it
_base_ = './eomt.py'
model = dict(segmenter=dict(backbone=dict(arch='giant'), num_blocks=5))
depth = 40
layer_rates = {
    **{f'backbone.blocks.{i}.': 0.8 ** (depth - 1 - i) for i in range(depth)},
    **{f'backbone.{name}': 0.8 ** (depth - 1) for name in ('patch_embed', 'cls_token', 'register_tokens', 'pos_embed')},
}
