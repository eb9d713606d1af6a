"""Predictions of the decoder layers of a stage."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from mmdvis.checks import check_shapes


@dataclass(frozen=True, eq=False)
class LayerPredictions:
    """Predictions of L decoder layers, from first to last.

    Attributes:
        class_logits: Class logits (L, B, S, Q, K + 1); S is T, or 1 if one class is predicted for the whole clip.
        mask_embeds: Mask embeddings (L, B, T, Q, M).
        mask_features: Mask features (B, T, M, h, w).
        mask_bias: Bias (L, B, T, Q) of the mask logits; None means zero.
    """

    class_logits: Tensor
    mask_embeds: Tensor
    mask_features: Tensor
    mask_bias: Tensor | None = None

    AXES: ClassVar[dict[str, str]] = dict(class_logits='LBSQK', mask_embeds='LBTQM', mask_features='BTMhw')

    def __post_init__(self) -> None:
        check_shapes(self, self.AXES)

    def layers(self, block: slice) -> 'LayerPredictions':
        """Predictions of a slice of the layers."""
        return LayerPredictions(
            self.class_logits[block],
            self.mask_embeds[block],
            self.mask_features,
            None if self.mask_bias is None else self.mask_bias[block],
        )


def fold_projection(embeds: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Folds a linear projection of the mask features into the mask embeddings: m . (W f + b) = (W^T m) . f + m . b.

    Args:
        embeds: Mask embeddings m (..., M).
        weight: Projection matrix W (M, M).
        bias: Projection bias b (M,).

    Returns:
        Mask embeddings (..., M) and mask biases (...) for the features before the projection.
    """
    return embeds @ weight, embeds @ bias
