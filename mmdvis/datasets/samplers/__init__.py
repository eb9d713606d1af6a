"""Which videos come when."""

from .clip_sampler import ClipSampler

__all__ = ['ClipSampler']
