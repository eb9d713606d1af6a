"""Rules that rename the weights of detectron2, mmdet and transformers to mmdvis, in order of precedence."""

from typing import NamedTuple


class Rule(NamedTuple):
    """Replacement of the prefix of a weight name.

    Attributes:
        source: Regular expression of the prefix; an unescaped dot is literal.
        target: Replacement, with group references as in ``re.sub``.
        why: Remark on the origin of the name; may be empty.
    """

    source: str
    target: str
    why: str = ''


PIXEL = 'sem_seg_head.pixel_decoder.'
PREDICTOR = 'sem_seg_head.predictor.'

SEGMENTER: list[Rule] = [
    Rule(PIXEL + r'input_proj.(\d+).0.', r'segmenter.pixel_decoder.input_convs.\1.conv.'),
    Rule(PIXEL + r'input_proj.(\d+).1.', r'segmenter.pixel_decoder.input_convs.\1.gn.'),
    Rule(PIXEL + 'transformer.level_embed', 'segmenter.pixel_decoder.level_encoding.weight'),
    Rule(
        PIXEL + r'transformer.encoder.layers.(\d+).self_attn.', r'segmenter.pixel_decoder.encoder.layers.\1.self_attn.'
    ),
    Rule(PIXEL + r'transformer.encoder.layers.(\d+).norm1.', r'segmenter.pixel_decoder.encoder.layers.\1.norms.0.'),
    Rule(PIXEL + r'transformer.encoder.layers.(\d+).norm2.', r'segmenter.pixel_decoder.encoder.layers.\1.norms.1.'),
    Rule(
        PIXEL + r'transformer.encoder.layers.(\d+).linear1.',
        r'segmenter.pixel_decoder.encoder.layers.\1.ffn.layers.0.0.',
    ),
    Rule(
        PIXEL + r'transformer.encoder.layers.(\d+).linear2.', r'segmenter.pixel_decoder.encoder.layers.\1.ffn.layers.1.'
    ),
    Rule(PIXEL + 'adapter_1.norm.', 'segmenter.pixel_decoder.lateral_convs.0.gn.'),
    Rule(PIXEL + 'adapter_1.', 'segmenter.pixel_decoder.lateral_convs.0.conv.'),
    Rule(PIXEL + 'layer_1.norm.', 'segmenter.pixel_decoder.output_convs.0.gn.'),
    Rule(PIXEL + 'layer_1.', 'segmenter.pixel_decoder.output_convs.0.conv.'),
    Rule(PIXEL + 'mask_features.', 'segmenter.pixel_decoder.mask_feature.'),
    Rule(
        PREDICTOR + 'static_query.', 'segmenter.query_feat.', 'the name of the learned queries in old model zoo files'
    ),
    Rule(PREDICTOR + '(query_feat|query_embed|level_embed).', r'segmenter.\1.'),
    Rule(
        PREDICTOR + r'transformer_cross_attention_layers.(\d+).multihead_attn.',
        r'segmenter.transformer_decoder.layers.\1.cross_attn.attn.',
    ),
    Rule(
        PREDICTOR + r'transformer_cross_attention_layers.(\d+).norm.',
        r'segmenter.transformer_decoder.layers.\1.norms.0.',
    ),
    Rule(
        PREDICTOR + r'transformer_self_attention_layers.(\d+).self_attn.',
        r'segmenter.transformer_decoder.layers.\1.self_attn.attn.',
    ),
    Rule(
        PREDICTOR + r'transformer_self_attention_layers.(\d+).norm.',
        r'segmenter.transformer_decoder.layers.\1.norms.1.',
    ),
    Rule(
        PREDICTOR + r'transformer_ffn_layers.(\d+).linear1.', r'segmenter.transformer_decoder.layers.\1.ffn.layers.0.0.'
    ),
    Rule(
        PREDICTOR + r'transformer_ffn_layers.(\d+).linear2.', r'segmenter.transformer_decoder.layers.\1.ffn.layers.1.'
    ),
    Rule(PREDICTOR + r'transformer_ffn_layers.(\d+).norm.', r'segmenter.transformer_decoder.layers.\1.norms.2.'),
    Rule(PREDICTOR + 'decoder_norm.', 'segmenter.transformer_decoder.post_norm.'),
    Rule(PREDICTOR + 'class_embed.', 'segmenter.cls_embed.'),
    Rule(PREDICTOR + 'mask_embed.layers.0.', 'segmenter.mask_embed.0.'),
    Rule(PREDICTOR + 'mask_embed.layers.1.', 'segmenter.mask_embed.2.'),
    Rule(PREDICTOR + 'mask_embed.layers.2.', 'segmenter.mask_embed.4.'),
    *[Rule(PREDICTOR + f'reid_embed.layers.{k}.', f'segmenter.reid_embed.{2 * k}.', 'DVIS++ only') for k in range(3)],
]
RESNET: list[Rule] = [
    Rule('backbone.stem.conv1.norm.', 'segmenter.backbone.bn1.'),
    Rule('backbone.stem.conv1.', 'segmenter.backbone.conv1.'),
    *[
        Rule(rf'backbone.res{s + 1}.(\d+).conv(\d).norm.', rf'segmenter.backbone.layer{s}.\1.bn\2.')
        for s in range(1, 5)
    ],
    *[Rule(rf'backbone.res{s + 1}.(\d+).conv(\d).', rf'segmenter.backbone.layer{s}.\1.conv\2.') for s in range(1, 5)],
    *[
        Rule(rf'backbone.res{s + 1}.(\d+).shortcut.norm.', rf'segmenter.backbone.layer{s}.\1.downsample.1.')
        for s in range(1, 5)
    ],
    *[
        Rule(rf'backbone.res{s + 1}.(\d+).shortcut.', rf'segmenter.backbone.layer{s}.\1.downsample.0.')
        for s in range(1, 5)
    ],
]
SWIN: list[Rule] = [
    Rule('backbone.patch_embed.proj.', 'segmenter.backbone.patch_embed.projection.'),
    Rule('backbone.patch_embed.norm.', 'segmenter.backbone.patch_embed.norm.'),
    Rule(r'backbone.layers.(\d+).blocks.(\d+).attn.', r'segmenter.backbone.stages.\1.blocks.\2.attn.w_msa.'),
    Rule(r'backbone.layers.(\d+).blocks.(\d+).mlp.fc1.', r'segmenter.backbone.stages.\1.blocks.\2.ffn.layers.0.0.'),
    Rule(r'backbone.layers.(\d+).blocks.(\d+).mlp.fc2.', r'segmenter.backbone.stages.\1.blocks.\2.ffn.layers.1.'),
    Rule(r'backbone.layers.(\d+).blocks.(\d+).(norm\d).', r'segmenter.backbone.stages.\1.blocks.\2.\3.'),
    Rule(r'backbone.layers.(\d+).downsample.', r'segmenter.backbone.stages.\1.downsample.'),
    Rule(r'backbone.(norm\d).', r'segmenter.backbone.\1.'),
]
ADAPTER: list[Rule] = [
    Rule('backbone.(vit_module|level_embed|spm|interactions|up)', r'segmenter.backbone.\1', 'ViT-Adapter of DVIS++')
]
TRACKER: list[Rule] = [
    Rule(r'tracker.transformer_cross_attention_layers.(\d+).multihead_attn.', r'tracker.layers.\1.rca.'),
    Rule(r'tracker.transformer_cross_attention_layers.(\d+).norm.', r'tracker.layers.\1.norms.0.'),
    Rule(r'tracker.transformer_self_attention_layers.(\d+).self_attn.', r'tracker.layers.\1.self_attn.'),
    Rule(r'tracker.transformer_self_attention_layers.(\d+).norm.', r'tracker.layers.\1.norms.1.'),
    Rule(r'tracker.transformer_ffn_layers.(\d+).linear1.', r'tracker.layers.\1.ffn.layers.0.0.'),
    Rule(r'tracker.transformer_ffn_layers.(\d+).linear2.', r'tracker.layers.\1.ffn.layers.1.'),
    Rule(r'tracker.transformer_ffn_layers.(\d+).norm.', r'tracker.layers.\1.norms.2.'),
    *[Rule(f'tracker.ref_proj.layers.{k}.', f'tracker.ref_proj.{2 * k}.', 'DVIS++ only') for k in range(3)],
    Rule('tracker.mask_feature_proj.', 'tracker.mask_feature_proj.', 'DVIS++ only'),
]
REFINER: list[Rule] = [
    Rule(r'refiner.transformer_time_self_attention_layers.(\d+).self_attn.', r'refiner.layers.\1.time_attn.'),
    Rule(r'refiner.transformer_time_self_attention_layers.(\d+).norm.', r'refiner.layers.\1.norms.0.'),
    Rule(r'refiner.conv_short_aggregate_layers.(\d+).', r'refiner.layers.\1.conv.'),
    Rule(r'refiner.conv_norms.(\d+).', r'refiner.layers.\1.norms.1.'),
    Rule(r'refiner.transformer_obj_self_attention_layers.(\d+).self_attn.', r'refiner.layers.\1.object_attn.'),
    Rule(r'refiner.transformer_obj_self_attention_layers.(\d+).norm.', r'refiner.layers.\1.norms.2.'),
    Rule(r'refiner.transformer_cross_attention_layers.(\d+).multihead_attn.', r'refiner.layers.\1.cross_attn.'),
    Rule(r'refiner.transformer_cross_attention_layers.(\d+).norm.', r'refiner.layers.\1.norms.3.'),
    Rule(r'refiner.transformer_ffn_layers.(\d+).linear1.', r'refiner.layers.\1.ffn.layers.0.0.'),
    Rule(r'refiner.transformer_ffn_layers.(\d+).linear2.', r'refiner.layers.\1.ffn.layers.1.'),
    Rule(r'refiner.transformer_ffn_layers.(\d+).norm.', r'refiner.layers.\1.norms.4.'),
    Rule('refiner.activation_proj.', 'refiner.activation_proj.'),
]
HEADS: list[Rule] = [
    Rule('(tracker|refiner).decoder_norm.', r'\1.decoder_norm.'),
    Rule('(tracker|refiner).class_embed.', r'\1.cls_embed.'),
    Rule('(tracker|refiner).mask_embed.layers.0.', r'\1.mask_embed.0.'),
    Rule('(tracker|refiner).mask_embed.layers.1.', r'\1.mask_embed.2.'),
    Rule('(tracker|refiner).mask_embed.layers.2.', r'\1.mask_embed.4.'),
]
DETECTRON2 = [*SEGMENTER, *RESNET, *SWIN, *ADAPTER, *TRACKER, *REFINER, *HEADS]
ALIASES = [Rule('offline_tracker.', 'refiner.', 'the name of the refiner in the first releases of DVIS')]
DETECTRON2_DROPPED: dict[str, str] = {  # pattern -> why the tensor is not needed
    r'criterion\.empty_weight$': 'a constant of the loss',
    r'backbone\.layers\.\d+\.blocks\.\d+\.attn\.relative_position_index$': 'a constant of the window size',
}

MMDET_HEAD = '(?:panoptic_head|track_head).'  # head of the image model, head of the video model
MMDET2 = 'the name in mmdet 2'
MMDET: list[Rule] = [
    Rule('backbone.', 'segmenter.backbone.'),
    Rule(
        MMDET_HEAD + r'pixel_decoder.encoder.layers.(\d+).attentions.0.',
        r'segmenter.pixel_decoder.encoder.layers.\1.self_attn.',
        MMDET2,
    ),
    Rule(
        MMDET_HEAD + r'pixel_decoder.encoder.layers.(\d+).ffns.0.',
        r'segmenter.pixel_decoder.encoder.layers.\1.ffn.',
        MMDET2,
    ),
    Rule(
        MMDET_HEAD + r'transformer_decoder.layers.(\d+).attentions.0.',
        r'segmenter.transformer_decoder.layers.\1.cross_attn.',
        MMDET2,
    ),
    Rule(
        MMDET_HEAD + r'transformer_decoder.layers.(\d+).attentions.1.',
        r'segmenter.transformer_decoder.layers.\1.self_attn.',
        MMDET2,
    ),
    Rule(
        MMDET_HEAD + r'transformer_decoder.layers.(\d+).ffns.0.',
        r'segmenter.transformer_decoder.layers.\1.ffn.',
        MMDET2,
    ),
    Rule(
        MMDET_HEAD + '(pixel_decoder|transformer_decoder|query_feat|query_embed|level_embed|cls_embed|mask_embed).',
        r'segmenter.\1.',
    ),
]
MMDET_DROPPED: dict[str, str] = {
    r'(panoptic_head|track_head)\.loss_\w+\.': 'a constant of the loss',
    r'data_preprocessor\.': 'a constant of the config',
}

ENCODER = r'model.pixel_level_module.encoder.(?:model.|swin.)?'  # (old names on the hub, names of the class)
DECODER = 'model.pixel_level_module.decoder.'
TRANSFORMER = 'model.transformer_module.'
SWIN_BLOCK = ENCODER + r'encoder.layers.(\d+).blocks.(\d+).'
SWIN_TARGET = r'segmenter.backbone.stages.\1.blocks.\2.'
PIXEL_LAYER = DECODER + r'encoder.layers.(\d+).'
PIXEL_TARGET = r'segmenter.pixel_decoder.encoder.layers.\1.'
QUERY_LAYER = TRANSFORMER + r'decoder.layers.(\d+).'
QUERY_TARGET = r'segmenter.transformer_decoder.layers.\1.'
TRANSFORMERS: list[Rule] = [
    Rule(ENCODER + 'embeddings.patch_embeddings.projection.', 'segmenter.backbone.patch_embed.projection.'),
    Rule(ENCODER + 'embeddings.norm.', 'segmenter.backbone.patch_embed.norm.'),
    Rule(
        SWIN_BLOCK + r'attention.(?:self.)?qkv.',
        SWIN_TARGET + 'attn.w_msa.qkv.',
        'query, key and value are concatenated',
    ),
    Rule(
        SWIN_BLOCK + 'attention.(?:self.|relative_position_bias.)?relative_position_bias_table',
        SWIN_TARGET + 'attn.w_msa.relative_position_bias_table',
    ),
    Rule(SWIN_BLOCK + '(?:attention.output.dense|attention.o_proj).', SWIN_TARGET + 'attn.w_msa.proj.'),
    Rule(SWIN_BLOCK + 'layernorm_before.', SWIN_TARGET + 'norm1.'),
    Rule(SWIN_BLOCK + 'layernorm_after.', SWIN_TARGET + 'norm2.'),
    Rule(SWIN_BLOCK + '(?:intermediate.dense|mlp.fc1).', SWIN_TARGET + 'ffn.layers.0.0.'),
    Rule(SWIN_BLOCK + '(?:output.dense|mlp.fc2).', SWIN_TARGET + 'ffn.layers.1.'),
    Rule(ENCODER + r'encoder.layers.(\d+).downsample.', r'segmenter.backbone.stages.\1.downsample.'),
    *[Rule(ENCODER + f'hidden_states_norms.stage{k + 1}.', f'segmenter.backbone.norm{k}.') for k in range(4)],
    Rule(DECODER + 'level_embed', 'segmenter.pixel_decoder.level_encoding.weight'),
    Rule(DECODER + r'input_projections.(\d+).0.', r'segmenter.pixel_decoder.input_convs.\1.conv.'),
    Rule(DECODER + r'input_projections.(\d+).1.', r'segmenter.pixel_decoder.input_convs.\1.gn.'),
    Rule(PIXEL_LAYER + 'self_attn.', PIXEL_TARGET + 'self_attn.'),
    Rule(PIXEL_LAYER + 'self_attn_layer_norm.', PIXEL_TARGET + 'norms.0.'),
    Rule(PIXEL_LAYER + 'final_layer_norm.', PIXEL_TARGET + 'norms.1.'),
    Rule(PIXEL_LAYER + '(?:mlp.)?fc1.', PIXEL_TARGET + 'ffn.layers.0.0.'),
    Rule(PIXEL_LAYER + '(?:mlp.)?fc2.', PIXEL_TARGET + 'ffn.layers.1.'),
    Rule(DECODER + 'adapter_1.0.', 'segmenter.pixel_decoder.lateral_convs.0.conv.'),
    Rule(DECODER + 'adapter_1.1.', 'segmenter.pixel_decoder.lateral_convs.0.gn.'),
    Rule(DECODER + 'layer_1.0.', 'segmenter.pixel_decoder.output_convs.0.conv.'),
    Rule(DECODER + 'layer_1.1.', 'segmenter.pixel_decoder.output_convs.0.gn.'),
    Rule(DECODER + 'mask_projection.', 'segmenter.pixel_decoder.mask_feature.'),
    Rule(TRANSFORMER + 'queries_features.', 'segmenter.query_feat.'),
    Rule(TRANSFORMER + 'queries_embedder.', 'segmenter.query_embed.'),
    Rule(TRANSFORMER + 'level_embed.', 'segmenter.level_embed.'),
    Rule(QUERY_LAYER + 'cross_attn.', QUERY_TARGET + 'cross_attn.attn.'),
    Rule(
        QUERY_LAYER + 'self_attn.qkv.',
        QUERY_TARGET + 'self_attn.attn.in_proj_',
        'query, key and value are concatenated',
    ),
    Rule(QUERY_LAYER + 'self_attn.out_proj.', QUERY_TARGET + 'self_attn.attn.out_proj.'),
    Rule(QUERY_LAYER + 'cross_attn_layer_norm.', QUERY_TARGET + 'norms.0.'),
    Rule(QUERY_LAYER + 'self_attn_layer_norm.', QUERY_TARGET + 'norms.1.'),
    Rule(QUERY_LAYER + 'final_layer_norm.', QUERY_TARGET + 'norms.2.'),
    Rule(QUERY_LAYER + '(?:mlp.)?fc1.', QUERY_TARGET + 'ffn.layers.0.0.'),
    Rule(QUERY_LAYER + '(?:mlp.)?fc2.', QUERY_TARGET + 'ffn.layers.1.'),
    Rule(TRANSFORMER + 'decoder.layernorm.', 'segmenter.transformer_decoder.post_norm.'),
    *[
        Rule(TRANSFORMER + rf'decoder.mask_predictor.mask_embedder.{k}.0.', f'segmenter.mask_embed.{2 * k}.')
        for k in range(3)
    ],
    Rule('class_predictor.', 'segmenter.cls_embed.'),
]
TRANSFORMERS_DROPPED: dict[str, str] = {
    r'criterion\.empty_weight$': 'a constant of the loss',
    r'.*relative_position_index$': 'a constant of the window size',
    r'model\.pixel_level_module\.encoder\.(model\.|swin\.)?layernorm\.': 'the final norm of the backbone is unused',
}
