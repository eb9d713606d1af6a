"""Small sizes of EoMT and VidEoMT, and the tensor names of their official files."""

import re

import torch

SIZES = {  # name -> sizes of transformers and of mmdvis
    'mlp': (
        dict(hidden_size=48, num_attention_heads=4, use_swiglu_ffn=False),
        dict(channels=48, num_heads=4, ffn='mlp'),
    ),
    'swiglu': (
        dict(hidden_size=64, num_attention_heads=2, use_swiglu_ffn=True),
        dict(channels=64, num_heads=2, ffn='swiglu'),
    ),
}


def official_names(state, prefix):
    """Names of the official files for weights of transformers; the prefix is network (EoMT) or backbone (VidEoMT)."""
    result = {
        f'{prefix}.attn_mask_probs': state['attn_mask_probs'],
        f'{prefix}.encoder.pixel_mean': torch.zeros(1, 3, 1, 1),
    }
    encoder = f'{prefix}.encoder.backbone.'
    for name, tensor in state.items():
        layer = re.match(r'layers\.(\d+)\.attention\.q_proj\.(weight|bias)', name)
        if layer:
            parts = [state[name.replace('q_proj', part)] for part in ('q_proj', 'k_proj', 'v_proj')]
            result[f'{encoder}blocks.{layer[1]}.attn.qkv.{layer[2]}'] = torch.cat(parts)
        for old, new in (
            (r'^layers\.(\d+)\.attention\.out_proj', rf'{encoder}blocks.\1.attn.proj'),
            (r'^layers\.(\d+)\.layer_scale(\d)\.lambda1', rf'{encoder}blocks.\1.ls\2.gamma'),
            (r'^layers\.(\d+)\.(norm|mlp)', rf'{encoder}blocks.\1.\2'),
            (r'^embeddings\.cls_token', f'{encoder}cls_token'),
            (r'^embeddings\.register_tokens', f'{encoder}reg_token'),
            (r'^embeddings\.position_embeddings\.weight', f'{encoder}pos_embed'),
            (r'^embeddings\.patch_embeddings\.projection', f'{encoder}patch_embed.proj'),
            (r'^layernorm', f'{encoder}norm'),
            (r'^query\.weight', f'{prefix}.q.weight'),
            (r'^query_updater', f'{prefix}.query_updater'),
            (r'^class_predictor', f'{prefix}.class_head'),
            (r'^mask_head\.fc1', f'{prefix}.mask_head.0'),
            (r'^mask_head\.fc2', f'{prefix}.mask_head.2'),
            (r'^mask_head\.fc3', f'{prefix}.mask_head.4'),
            (r'^upscale_block\.block\.(\d+)\.layernorm2d', rf'{prefix}.upscale.\1.norm'),
            (r'^upscale_block\.block\.', f'{prefix}.upscale.'),
        ):
            if re.match(old, name):
                result[re.sub(old, new, name)] = tensor[None] if 'position' in name else tensor
                break
    return result
