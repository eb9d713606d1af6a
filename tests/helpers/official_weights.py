"""Names and shapes of the weights in the public detectron2 checkpoints, from their description."""

import torch


def linear(name, out, width):
    return {f'{name}.weight': (out, width), f'{name}.bias': (out,)}


def vectors(name, width):
    return {f'{name}.weight': (width,), f'{name}.bias': (width,)}


def attention(name, width):
    return {
        f'{name}.in_proj_weight': (3 * width, width),
        f'{name}.in_proj_bias': (3 * width,),
        **linear(f'{name}.out_proj', width, width),
    }


def mlp(name, width, out):
    return {
        **linear(f'{name}.layers.0', width, width),
        **linear(f'{name}.layers.1', width, width),
        **linear(f'{name}.layers.2', out, width),
    }


def conv_norm(name, norm, out, width, kernel):
    weights = {f'{name}.weight': (out, width, kernel, kernel)}
    return {**weights, **{f'{norm}.{part}': (out,) for part in ('weight', 'bias', 'running_mean', 'running_var')}}


def resnet50(base=64):
    names = conv_norm('backbone.stem.conv1', 'backbone.stem.conv1.norm', base, 3, 7)
    width = base
    for stage, blocks in enumerate((3, 4, 6, 3)):
        inner, out = base * 2**stage, 4 * base * 2**stage
        for n in range(blocks):
            block = f'backbone.res{stage + 2}.{n}'
            for k, (o, i, kernel) in enumerate(((inner, width, 1), (inner, inner, 3), (out, inner, 1)), 1):
                names.update(conv_norm(f'{block}.conv{k}', f'{block}.conv{k}.norm', o, i, kernel))
            if n == 0:
                names.update(conv_norm(f'{block}.shortcut', f'{block}.shortcut.norm', out, width, 1))
            width = out
    return names


def swin(width, depths, heads, window):
    names = {
        'backbone.patch_embed.proj.weight': (width, 3, 4, 4),
        'backbone.patch_embed.proj.bias': (width,),
        **vectors('backbone.patch_embed.norm', width),
    }
    for stage, (depth, num_heads) in enumerate(zip(depths, heads)):
        c = width * 2**stage
        for n in range(depth):
            block = f'backbone.layers.{stage}.blocks.{n}'
            names.update(
                {
                    **vectors(f'{block}.norm1', c),
                    **vectors(f'{block}.norm2', c),
                    **linear(f'{block}.attn.qkv', 3 * c, c),
                    **linear(f'{block}.attn.proj', c, c),
                    **linear(f'{block}.mlp.fc1', 4 * c, c),
                    **linear(f'{block}.mlp.fc2', c, 4 * c),
                    f'{block}.attn.relative_position_bias_table': ((2 * window - 1) ** 2, num_heads),
                    f'{block}.attn.relative_position_index': (window**2, window**2),
                }
            )
        if stage < 3:
            names.update(
                {
                    f'backbone.layers.{stage}.downsample.reduction.weight': (2 * c, 4 * c),
                    **vectors(f'backbone.layers.{stage}.downsample.norm', 4 * c),
                }
            )
        names.update(vectors(f'backbone.norm{stage}', c))
    return names


def segmenter(
    in_channels,
    classes,
    queries,
    width=256,
    features=256,
    encoder=6,
    encoder_ffn=1024,
    decoder=9,
    ffn=2048,
    heads=8,
    reid=False,
    old=False,
):
    """Return the shapes of the pixel decoder and the transformer decoder.

    ``old``: the learned queries have the name used in the first model zoo files.
    """
    pixel, predictor = 'sem_seg_head.pixel_decoder', 'sem_seg_head.predictor'
    names = {
        f'{pixel}.transformer.level_embed': (3, width),
        f'{pixel}.adapter_1.weight': (width, in_channels[0], 1, 1),
        **vectors(f'{pixel}.adapter_1.norm', width),
        f'{pixel}.layer_1.weight': (width, width, 3, 3),
        **vectors(f'{pixel}.layer_1.norm', width),
        f'{pixel}.mask_features.weight': (features, width, 1, 1),
        f'{pixel}.mask_features.bias': (features,),
    }
    for level, c in enumerate(reversed(in_channels[1:])):
        names.update(
            {
                f'{pixel}.input_proj.{level}.0.weight': (width, c, 1, 1),
                f'{pixel}.input_proj.{level}.0.bias': (width,),
                **vectors(f'{pixel}.input_proj.{level}.1', width),
            }
        )
    for k in range(encoder):
        layer = f'{pixel}.transformer.encoder.layers.{k}'
        names.update(
            {
                **linear(f'{layer}.self_attn.sampling_offsets', heads * 24, width),
                **linear(f'{layer}.self_attn.attention_weights', heads * 12, width),
                **linear(f'{layer}.self_attn.value_proj', width, width),
                **linear(f'{layer}.self_attn.output_proj', width, width),
                **vectors(f'{layer}.norm1', width),
                **linear(f'{layer}.linear1', encoder_ffn, width),
                **linear(f'{layer}.linear2', width, encoder_ffn),
                **vectors(f'{layer}.norm2', width),
            }
        )
    for k in range(decoder):
        names.update(
            {
                **attention(f'{predictor}.transformer_cross_attention_layers.{k}.multihead_attn', width),
                **vectors(f'{predictor}.transformer_cross_attention_layers.{k}.norm', width),
                **attention(f'{predictor}.transformer_self_attention_layers.{k}.self_attn', width),
                **vectors(f'{predictor}.transformer_self_attention_layers.{k}.norm', width),
                **feed(f'{predictor}.transformer_ffn_layers.{k}', width, ffn),
            }
        )
    names.update(
        {
            f'{predictor}.{"static_query" if old else "query_feat"}.weight': (queries, width),
            f'{predictor}.query_embed.weight': (queries, width),
            f'{predictor}.level_embed.weight': (3, width),
            **vectors(f'{predictor}.decoder_norm', width),
            **linear(f'{predictor}.class_embed', classes + 1, width),
            **mlp(f'{predictor}.mask_embed', width, features),
            'criterion.empty_weight': (classes + 1,),
        }
    )
    return {**names, **(mlp(f'{predictor}.reid_embed', width, width) if reid else {})}


def feed(name, width, ffn):
    return {
        **linear(f'{name}.linear1', ffn, width),
        **linear(f'{name}.linear2', width, ffn),
        **vectors(f'{name}.norm', width),
    }


def tracker(classes, width=256, features=256, layers=6, ffn=2048, plus=False):
    names = {
        **vectors('tracker.decoder_norm', width),
        **mlp('tracker.mask_embed', width, features),
        **linear('tracker.class_embed', classes + 1, 2 * width if plus else width),
    }
    for k in range(layers):
        names.update(
            {
                **attention(f'tracker.transformer_self_attention_layers.{k}.self_attn', width),
                **vectors(f'tracker.transformer_self_attention_layers.{k}.norm', width),
                **attention(f'tracker.transformer_cross_attention_layers.{k}.multihead_attn', width),
                **vectors(f'tracker.transformer_cross_attention_layers.{k}.norm', width),
                **feed(f'tracker.transformer_ffn_layers.{k}', width, ffn),
            }
        )
    if plus:
        names.update(
            {
                **mlp('tracker.ref_proj', width, width),
                'tracker.mask_feature_proj.weight': (features, features, 1, 1),
                'tracker.mask_feature_proj.bias': (features,),
            }
        )
    return names


def refiner(classes, width=256, features=256, layers=6, ffn=2048, prefix='refiner'):
    names = {
        **vectors(f'{prefix}.decoder_norm', width),
        **mlp(f'{prefix}.mask_embed', width, features),
        **linear(f'{prefix}.class_embed', classes + 1, width),
        **linear(f'{prefix}.activation_proj', 1, width),
    }
    for k in range(layers):
        names.update(
            {
                **attention(f'{prefix}.transformer_time_self_attention_layers.{k}.self_attn', width),
                **vectors(f'{prefix}.transformer_time_self_attention_layers.{k}.norm', width),
                **attention(f'{prefix}.transformer_obj_self_attention_layers.{k}.self_attn', width),
                **vectors(f'{prefix}.transformer_obj_self_attention_layers.{k}.norm', width),
                **attention(f'{prefix}.transformer_cross_attention_layers.{k}.multihead_attn', width),
                **vectors(f'{prefix}.transformer_cross_attention_layers.{k}.norm', width),
                **feed(f'{prefix}.transformer_ffn_layers.{k}', width, ffn),
                f'{prefix}.conv_short_aggregate_layers.{k}.0.weight': (width, width, 5),
                f'{prefix}.conv_short_aggregate_layers.{k}.0.bias': (width,),
                f'{prefix}.conv_short_aggregate_layers.{k}.2.weight': (width, width, 3),
                f'{prefix}.conv_short_aggregate_layers.{k}.2.bias': (width,),
                **vectors(f'{prefix}.conv_norms.{k}', width),
            }
        )
    return names


def draw(shapes, seed=0, dtype=torch.float32):
    """Return random tensors of the given shapes; variances are positive, norm weights are close to one."""
    g = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes.items():
        x = torch.randn(shape, generator=g, dtype=torch.float64)
        if name.endswith('running_var'):
            x = x.abs() + 0.5
        elif 'norm' in name and name.endswith('weight') and len(shape) == 1:
            x = 1 + 0.2 * x
        else:
            x = x * (0.2 if len(shape) == 1 else (2 / (shape[0] + shape[1])) ** 0.5)
        weights[name] = x.to(dtype)
    return weights
