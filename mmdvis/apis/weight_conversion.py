"""Names and layouts of detectron2's DVIS checkpoints -> ours: a table of renames, and two tensors that change."""
import re
from dataclasses import dataclass
from typing import Dict, List, Pattern, Tuple

from torch import Tensor

Rule = Tuple[str, str]

PIXEL = 'sem_seg_head.pixel_decoder.'
PREDICTOR = 'sem_seg_head.predictor.'

SEGMENTER: List[Rule] = [
    (PIXEL + r'input_proj.(\d+).0.', r'segmenter.pixel_decoder.input_convs.\1.conv.'),
    (PIXEL + r'input_proj.(\d+).1.', r'segmenter.pixel_decoder.input_convs.\1.gn.'),
    (PIXEL + 'transformer.level_embed', 'segmenter.pixel_decoder.level_encoding.weight'),
    (PIXEL + r'transformer.encoder.layers.(\d+).self_attn.', r'segmenter.pixel_decoder.encoder.layers.\1.self_attn.'),
    (PIXEL + r'transformer.encoder.layers.(\d+).norm1.', r'segmenter.pixel_decoder.encoder.layers.\1.norms.0.'),
    (PIXEL + r'transformer.encoder.layers.(\d+).norm2.', r'segmenter.pixel_decoder.encoder.layers.\1.norms.1.'),
    (PIXEL + r'transformer.encoder.layers.(\d+).linear1.', r'segmenter.pixel_decoder.encoder.layers.\1.ffn.layers.0.0.'),
    (PIXEL + r'transformer.encoder.layers.(\d+).linear2.', r'segmenter.pixel_decoder.encoder.layers.\1.ffn.layers.1.'),
    (PIXEL + 'adapter_1.norm.', 'segmenter.pixel_decoder.lateral_convs.0.gn.'),
    (PIXEL + 'adapter_1.', 'segmenter.pixel_decoder.lateral_convs.0.conv.'),
    (PIXEL + 'layer_1.norm.', 'segmenter.pixel_decoder.output_convs.0.gn.'),
    (PIXEL + 'layer_1.', 'segmenter.pixel_decoder.output_convs.0.conv.'),
    (PIXEL + 'mask_features.', 'segmenter.pixel_decoder.mask_feature.'),
    (PREDICTOR + 'static_query.', 'segmenter.query_feat.'),  # the name in old zoo files
    (PREDICTOR + '(query_feat|query_embed|level_embed).', r'segmenter.\1.'),
    (PREDICTOR + r'transformer_cross_attention_layers.(\d+).multihead_attn.',
     r'segmenter.transformer_decoder.layers.\1.cross_attn.attn.'),
    (PREDICTOR + r'transformer_cross_attention_layers.(\d+).norm.', r'segmenter.transformer_decoder.layers.\1.norms.0.'),
    (PREDICTOR + r'transformer_self_attention_layers.(\d+).self_attn.',
     r'segmenter.transformer_decoder.layers.\1.self_attn.attn.'),
    (PREDICTOR + r'transformer_self_attention_layers.(\d+).norm.', r'segmenter.transformer_decoder.layers.\1.norms.1.'),
    (PREDICTOR + r'transformer_ffn_layers.(\d+).linear1.', r'segmenter.transformer_decoder.layers.\1.ffn.layers.0.0.'),
    (PREDICTOR + r'transformer_ffn_layers.(\d+).linear2.', r'segmenter.transformer_decoder.layers.\1.ffn.layers.1.'),
    (PREDICTOR + r'transformer_ffn_layers.(\d+).norm.', r'segmenter.transformer_decoder.layers.\1.norms.2.'),
    (PREDICTOR + 'decoder_norm.', 'segmenter.transformer_decoder.post_norm.'),
    (PREDICTOR + 'class_embed.', 'segmenter.cls_embed.'),
    (PREDICTOR + 'mask_embed.layers.0.', 'segmenter.mask_embed.0.'),
    (PREDICTOR + 'mask_embed.layers.1.', 'segmenter.mask_embed.2.'),
    (PREDICTOR + 'mask_embed.layers.2.', 'segmenter.mask_embed.4.'),
]
RESNET: List[Rule] = [
    ('backbone.stem.conv1.norm.', 'segmenter.backbone.bn1.'),
    ('backbone.stem.conv1.', 'segmenter.backbone.conv1.'),
    *[(rf'backbone.res{s + 1}.(\d+).conv(\d).norm.', rf'segmenter.backbone.layer{s}.\1.bn\2.') for s in range(1, 5)],
    *[(rf'backbone.res{s + 1}.(\d+).conv(\d).', rf'segmenter.backbone.layer{s}.\1.conv\2.') for s in range(1, 5)],
    *[(rf'backbone.res{s + 1}.(\d+).shortcut.norm.', rf'segmenter.backbone.layer{s}.\1.downsample.1.')
      for s in range(1, 5)],
    *[(rf'backbone.res{s + 1}.(\d+).shortcut.', rf'segmenter.backbone.layer{s}.\1.downsample.0.') for s in range(1, 5)],
]
SWIN: List[Rule] = [
    ('backbone.patch_embed.proj.', 'segmenter.backbone.patch_embed.projection.'),
    ('backbone.patch_embed.norm.', 'segmenter.backbone.patch_embed.norm.'),
    (r'backbone.layers.(\d+).blocks.(\d+).attn.', r'segmenter.backbone.stages.\1.blocks.\2.attn.w_msa.'),
    (r'backbone.layers.(\d+).blocks.(\d+).mlp.fc1.', r'segmenter.backbone.stages.\1.blocks.\2.ffn.layers.0.0.'),
    (r'backbone.layers.(\d+).blocks.(\d+).mlp.fc2.', r'segmenter.backbone.stages.\1.blocks.\2.ffn.layers.1.'),
    (r'backbone.layers.(\d+).blocks.(\d+).(norm\d).', r'segmenter.backbone.stages.\1.blocks.\2.\3.'),
    (r'backbone.layers.(\d+).downsample.', r'segmenter.backbone.stages.\1.downsample.'),
    (r'backbone.(norm\d).', r'segmenter.backbone.\1.'),
]
TRACKER: List[Rule] = [
    (r'tracker.transformer_cross_attention_layers.(\d+).multihead_attn.', r'tracker.layers.\1.rca.'),
    (r'tracker.transformer_cross_attention_layers.(\d+).norm.', r'tracker.layers.\1.norms.0.'),
    (r'tracker.transformer_self_attention_layers.(\d+).self_attn.', r'tracker.layers.\1.self_attn.'),
    (r'tracker.transformer_self_attention_layers.(\d+).norm.', r'tracker.layers.\1.norms.1.'),
    (r'tracker.transformer_ffn_layers.(\d+).linear1.', r'tracker.layers.\1.ffn.layers.0.0.'),
    (r'tracker.transformer_ffn_layers.(\d+).linear2.', r'tracker.layers.\1.ffn.layers.1.'),
    (r'tracker.transformer_ffn_layers.(\d+).norm.', r'tracker.layers.\1.norms.2.'),
]
REFINER: List[Rule] = [
    (r'refiner.transformer_time_self_attention_layers.(\d+).self_attn.', r'refiner.layers.\1.time_attn.'),
    (r'refiner.transformer_time_self_attention_layers.(\d+).norm.', r'refiner.layers.\1.norms.0.'),
    (r'refiner.conv_short_aggregate_layers.(\d+).', r'refiner.layers.\1.conv.'),
    (r'refiner.conv_norms.(\d+).', r'refiner.layers.\1.norms.1.'),
    (r'refiner.transformer_obj_self_attention_layers.(\d+).self_attn.', r'refiner.layers.\1.object_attn.'),
    (r'refiner.transformer_obj_self_attention_layers.(\d+).norm.', r'refiner.layers.\1.norms.2.'),
    (r'refiner.transformer_cross_attention_layers.(\d+).multihead_attn.', r'refiner.layers.\1.cross_attn.'),
    (r'refiner.transformer_cross_attention_layers.(\d+).norm.', r'refiner.layers.\1.norms.3.'),
    (r'refiner.transformer_ffn_layers.(\d+).linear1.', r'refiner.layers.\1.ffn.layers.0.0.'),
    (r'refiner.transformer_ffn_layers.(\d+).linear2.', r'refiner.layers.\1.ffn.layers.1.'),
    (r'refiner.transformer_ffn_layers.(\d+).norm.', r'refiner.layers.\1.norms.4.'),
    ('refiner.activation_proj.', 'refiner.activation_proj.'),
]
HEADS: List[Rule] = [
    ('(tracker|refiner).decoder_norm.', r'\1.decoder_norm.'),
    ('(tracker|refiner).class_embed.', r'\1.cls_embed.'),
    ('(tracker|refiner).mask_embed.layers.0.', r'\1.mask_embed.0.'),
    ('(tracker|refiner).mask_embed.layers.1.', r'\1.mask_embed.2.'),
    ('(tracker|refiner).mask_embed.layers.2.', r'\1.mask_embed.4.'),
]
DROPPED: Dict[str, str] = {  # pattern -> why the tensor is not needed
    r'criterion\.empty_weight$': 'a constant of the loss',
    r'backbone\.layers\.\d+\.blocks\.\d+\.attn\.relative_position_index$': 'a constant of the window size',
}


def compiled(rules: List[Rule]) -> List[Tuple[Pattern, str]]:
    """The rules with their dots taken literally, each matching a prefix."""
    return [(re.compile('^' + source.replace('.', r'\.')), target) for source, target in rules]


RULES = compiled([*SEGMENTER, *RESNET, *SWIN, *TRACKER, *REFINER, *HEADS])


@dataclass(frozen=True)
class Conversion:
    """A converted checkpoint.

    Attributes:
        state_dict: our names.
        renamed: official name -> our name.
        dropped: official name -> why.
        leftover: official names that no rule knows.
    """
    state_dict: Dict[str, Tensor]
    renamed: Dict[str, str]
    dropped: Dict[str, str]
    leftover: Tuple[str, ...]


def convert_detectron2(official: Dict[str, Tensor]) -> Conversion:
    """Converts a state dict of DVIS v1, MinVIS or Mask2Former as detectron2 names it."""
    state, renamed, dropped, leftover = {}, {}, {}, []
    for name, tensor in official.items():
        why = next((why for pattern, why in DROPPED.items() if re.match(pattern, name)), None)
        if why is not None:
            dropped[name] = why
            continue
        new = next((pattern.sub(target, name) for pattern, target in RULES if pattern.match(name)), None)
        if new is None:
            leftover.append(name)
            continue
        renamed[name] = new
        state[new] = reorder_merging(tensor) if '.backbone.stages.' in new and '.downsample.' in new else tensor
    return Conversion(state, renamed, dropped, tuple(leftover))


def reorder_merging(tensor: Tensor) -> Tensor:
    """Swin's patch merging in mmdet's order.

    Swin lays the four neighbours side by side as (0, 0), (1, 0), (0, 1), (1, 1), each c wide; mmdet unfolds them channel
    by channel in the order (0, 0), (0, 1), (1, 0), (1, 1). Takes the weight (2c, 4c) or a vector of the norm (4c,).
    """
    blocks = tensor.unflatten(-1, (4, -1))[..., [0, 2, 1, 3], :]
    return blocks.transpose(-1, -2).flatten(-2).contiguous()
