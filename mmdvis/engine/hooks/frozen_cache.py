"""Hook that keeps the outputs of frozen stages on disk."""

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdvis.io import TensorCache
from mmdvis.registry import HOOKS


@HOOKS.register_module()
class FrozenOutputCacheHook(Hook):
    """Keeps the outputs of the frozen stages of :class:`DVIS` in a :class:`TensorCache`.

    A training then computes the frozen stages once for each frame, and so do other trainings that start from the same
    weights and use the same folder. This pays off if frames return unchanged: with flips and clips of any order; with
    random scales and crops only if the clips of a video are limited, see ``views`` of :class:`ClipSampler`.

    Args:
        folder: Folder of the cache.
        max_gb: Size in GB up to which this training adds entries.

    Raises:
        OptionError: ``max_gb`` is not positive and finite.
    """

    def __init__(self, folder: str, max_gb: float = 20.0) -> None:
        self.cache = TensorCache(folder, max_gb)

    def before_train(self, runner: Runner) -> None:
        """Puts the cache into the message hub, where :class:`DVIS` finds it."""
        runner.message_hub.update_info('frozen_cache', self.cache, resumed=False)

    def after_train(self, runner: Runner) -> None:
        """Removes the cache from the message hub."""
        runner.message_hub.update_info('frozen_cache', None, resumed=False)
