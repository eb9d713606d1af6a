"""``torch.compile`` for parts of a model, and one sentence where it does not work."""
import warnings
from typing import Any, Callable, Optional

import torch
from torch import nn

from mmdvis.models import DVIS

COMPILED = ('pixel_decoder', )  # parts of the segmenter; of the others the CPU's gain is lost in what times vary by


class CompiledCall:
    """A function that is compiled when it is first called; where that fails, as without a C compiler, it stays as it is.

    Args:
        function: what is compiled, for every shape of its arguments anew.
        name: of the part, for the sentence.
    """

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self.plain, self.name = function, name
        self.quick: Callable[..., Any] = torch.compile(function, dynamic=False)
        self.works: Optional[bool] = None  # not tried

    def __call__(self, *args: Any) -> Any:
        if self.works is False:
            return self.plain(*args)
        try:
            found = self.quick(*args)
        except Exception as error:  # what compilers may raise is nowhere written
            if self.works:
                raise
            self.works = False
            warnings.warn(f'torch.compile does not run here ({type(error).__name__}), so the {self.name} runs as it is; '
                          'a C++ compiler mends it', stacklevel=2)
            return self.plain(*args)
        self.works = True
        return found


def compile_parts(model: DVIS) -> DVIS:
    """Lets the parts of the segmenter for which it pays be compiled at their first call; the model serves for inference.

    Results agree up to rounding.
    """
    for name in COMPILED:
        module: nn.Module = getattr(model.segmenter, name)
        module.forward = CompiledCall(module.forward, name.replace('_', ' '))
    return model
