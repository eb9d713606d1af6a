"""What every stage with heads says of its queries."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from mmdvis.checks import check_shapes


@dataclass(frozen=True, eq=False)
class LayerPredictions:
    """Predictions of L decoder layers, the last of them at the end.

    Attributes:
        class_logits (L, B, S, Q, K + 1): S is T, or 1 where one class counts for the whole clip.
        mask_embeds (L, B, T, Q, M).
        mask_features (B, T, M, h, w).
        mask_bias (L, B, T, Q) or None.
    """

    class_logits: Tensor
    mask_embeds: Tensor
    mask_features: Tensor
    mask_bias: Tensor | None = None

    AXES: ClassVar[dict[str, str]] = dict(class_logits='LBSQK', mask_embeds='LBTQM', mask_features='BTMhw')

    def __post_init__(self) -> None:
        check_shapes(self, self.AXES)

    def layers(self, block: slice) -> 'LayerPredictions':
        """Those of some layers."""
        return LayerPredictions(
            self.class_logits[block],
            self.mask_embeds[block],
            self.mask_features,
            None if self.mask_bias is None else self.mask_bias[block],
        )

    def last(self) -> 'LayerPredictions':
        """Those of the last layer (L = 1)."""
        return self.layers(slice(-1, None))


def fold_projection(embeds: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Moves a linear map of the mask features into the mask embeddings: m . (W f + b) = (W^T m) . f + m . b.

    Args:
        embeds (..., M): m.
        weight (M, M), bias (M,): W and b.

    Returns:
        embeddings (..., M) and biases (...) for the features before the map.
    """
    return embeds @ weight, embeds @ bias
