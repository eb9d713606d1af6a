"""Converter of EoMT and VidEoMT weights of transformers and of the official repositories."""

import re
from dataclasses import replace

import torch
from torch import Tensor

from mmdvis.errors import CheckpointError

from .converters import Conversion, concatenate_qkv, convert
from .key_maps import Rule

VIT = 'network.encoder.backbone.'  # of the official files
TABLES = ('embeddings.position_embeddings.weight', f'{VIT}pos_embed')  # of DINOv2
BLOCK = r'(?:layers|network.encoder.backbone.blocks).(\d+).'
TARGET = r'segmenter.backbone.blocks.\1.'
JOINED = 'query, key and value are concatenated'
EOMT: list[Rule] = [
    Rule(f'(?:embeddings.|{VIT})cls_token', 'segmenter.backbone.cls_token'),
    Rule(f'(?:embeddings.register_tokens|{VIT}reg_token)', 'segmenter.backbone.register_tokens'),
    Rule('pos_embed', 'segmenter.backbone.pos_embed', 'with a row of zeros for the class token'),
    Rule(
        f'(?:embeddings.patch_embeddings(?:.projection)?|{VIT}patch_embed.proj).',
        'segmenter.backbone.patch_embed.proj.',
    ),
    Rule(BLOCK + '(norm[12]).', TARGET + r'\2.'),
    Rule(BLOCK + 'attn.qkv.(query|value)_bias', TARGET + r'attn.qkv.\2_bias'),
    Rule(BLOCK + '(?:attention|attn).qkv.', TARGET + 'attn.qkv.', JOINED),
    Rule(BLOCK + '(?:attention.o(?:ut)?_proj|attn.proj).', TARGET + 'attn.proj.'),
    Rule(BLOCK + '(?:layer_scale|ls)([12]).(?:lambda1|gamma)', TARGET + r'ls\2.gamma'),
    Rule(BLOCK + 'mlp.w12.', TARGET + 'mlp.w12.', 'gate and value are concatenated'),
    Rule(BLOCK + 'mlp.w3.', TARGET + 'mlp.w3.'),
    Rule(BLOCK + 'mlp.(fc[12]).', TARGET + r'mlp.\2.'),
    Rule(f'(?:layernorm|{VIT}norm).', 'segmenter.backbone.norm.'),
    Rule('(?:query|network.q).weight', 'segmenter.query_feat.weight'),
    Rule('(?:network.)?query_updater.', 'segmenter.query_update.'),
    Rule('(?:class_predictor|network.class_head).', 'segmenter.cls_embed.'),
    *[Rule(f'(?:mask_head.fc{k + 1}|network.mask_head.{2 * k}).', f'segmenter.mask_embed.{2 * k}.') for k in range(3)],
    Rule(r'(?:upscale_block.block|network.upscale).(\d+).(conv[12]).', r'segmenter.upscale.\1.\2.'),
    Rule(r'(?:upscale_block.block|network.upscale).(\d+).(?:layernorm2d|norm).', r'segmenter.upscale.\1.norm.'),
]
EOMT_DROPPED: dict[str, str] = {
    r'criterion\.': 'a constant of the loss',
    r'(network\.)?attn_mask_probs$': 'kept as the option segmenter.masked',
    r'network\.encoder\.pixel_(mean|std)$': 'a constant of the config',
    r'embeddings\.mask_token$': 'not used',
}


def convert_eomt(official: dict[str, Tensor]) -> Conversion:
    """Converts EoMT or VidEoMT weights of transformers or of the official repositories.

    EoMT weights that were trained without annealing, which have a probability of masks above 0, get the option
    ``segmenter.masked``; VidEoMT weights get the option ``segmenter.normed_state``, which is True with DINOv3.

    Raises:
        CheckpointError: The weights are those of the official repository for DINOv3, which are differences, or of a
            DINOv3 with gated feed-forward layers.
    """
    is_video = any('query_updater.' in name for name in official)
    official = {renamed(name): tensor for name, tensor in official.items()} if is_video else official
    is_dinov3 = not any(name in official for name in TABLES)
    if is_dinov3 and not is_video and any(name.startswith(VIT) for name in official):
        raise CheckpointError(
            'official weights of EoMT with DINOv3 are differences to the weights of DINOv3 and cannot be used alone; '
            'add them, and save the sum with the names of transformers'
        )
    if is_dinov3 and any('.mlp.gate_proj.' in name for name in official):
        raise CheckpointError(
            'EoMT with a gated feed-forward layer and DINOv3 is not supported; use small, base or large'
        )
    probabilities = [value for name, value in official.items() if name.endswith('attn_mask_probs')]
    is_masked = any(bool((value > 0).any()) for value in probabilities)
    result = convert(joined(official), EOMT, (), EOMT_DROPPED, lambda name, tensor: tensor)
    state = dict(result.state_dict)
    if 'segmenter.backbone.pos_embed' in state:  # DINOv2
        state['segmenter.backbone.mask_token'] = torch.zeros_like(state['segmenter.backbone.cls_token'][0])
    switch = {'segmenter.normed_state': is_dinov3} if is_video else {'segmenter.masked': is_masked}
    return replace(result, state_dict=state, switches=switch)


def renamed(name: str) -> str:
    """The name that EoMT has for a tensor of the official files of VidEoMT; those with DINOv3 are no differences."""
    name = re.sub(r'^backbone\.', 'network.', name)
    name = name.replace(f'{VIT}patch_embed.patch_embeddings.', 'embeddings.patch_embeddings.')
    name = re.sub(f'^{VIT}patch_embed\\.(cls_token|register_tokens|mask_token)$', r'embeddings.\1', name)
    return name


def joined(official: dict[str, Tensor]) -> dict[str, Tensor]:
    """Joins projections that mmdvis has as one tensor, and adds a position of zeros for the class token."""
    weights = concatenate_qkv(official)
    is_gated = any('.mlp.gate_proj.' in name for name in weights)
    up, down = ('up_proj', 'w3') if is_gated else ('fc1', 'fc2')
    result: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        gate = re.fullmatch(r'(.*\.mlp)\.gate_proj\.(weight|bias)', name)
        bias = re.fullmatch(r'(.*)\.attention\.qkv\.bias \(part ([02])\)', name)  # the keys of DINOv3 have none
        if gate and f'{gate[1]}.up_proj.{gate[2]}' in weights:
            result[f'{gate[1]}.w12.{gate[2]}'] = torch.cat([tensor, weights[f'{gate[1]}.up_proj.{gate[2]}']])
        elif bias:
            result[f'{bias[1]}.attn.qkv.{"query" if bias[2] == "0" else "value"}_bias'] = tensor
        elif name in TABLES:
            rows = tensor.reshape(1, -1, tensor.shape[-1])
            result['pos_embed'] = torch.cat([torch.zeros_like(rows[:, :1]), rows], 1)
        elif re.fullmatch(r'.*\.mlp\.up_proj\.(weight|bias)', name) and name.replace('up_proj', 'gate_proj') in weights:
            continue
        else:
            result[name.replace('.mlp.up_proj.', f'.mlp.{up}.').replace('.mlp.down_proj.', f'.mlp.{down}.')] = tensor
    return result
