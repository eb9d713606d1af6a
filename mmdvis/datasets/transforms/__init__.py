"""What happens to a clip between the disk and the model."""
from .clip_geometry import CropClip, FlipClip, ResizeClip
from .clip_io import LoadClip, OpenVideo, PackClip
from .clip_sampling import SampleClip

__all__ = ['CropClip', 'FlipClip', 'LoadClip', 'OpenVideo', 'PackClip', 'ResizeClip', 'SampleClip']
