"""Base class of the models that are trained: it checks the losses of every batch."""

import torch
from mmengine.dist import all_reduce
from mmengine.model import BaseModel
from torch import Tensor

from mmdvis.errors import NonFiniteError


class TrainedModel(BaseModel):
    """Model whose losses must be finite; see :class:`mmdvis.engine.VideoTrainLoop` for what happens otherwise."""

    def parse_losses(self, losses: dict[str, Tensor | list[Tensor]]) -> tuple[Tensor, dict[str, Tensor]]:
        """Sums the losses of a batch, as in mmengine.

        Args:
            losses: Name -> loss, a scalar or a list of them; names with ``loss`` are added up.

        Returns:
            Sum of the losses, and name -> value for the log.

        Raises:
            NonFiniteError: If the sum is NaN or infinite in any of the processes, in all of them alike.
        """
        total, values = super().parse_losses(losses)
        faulty = (~torch.isfinite(total.detach())).float()
        all_reduce(faulty)
        if bool(faulty > 0):
            names = [name for name, value in values.items() if name != 'loss' and not bool(torch.isfinite(value).all())]
            raise NonFiniteError(
                f'{", ".join(names)} {"is" if len(names) == 1 else "are"} not finite'
                if names
                else 'a loss is not finite in another process'
            )
        return total, values
