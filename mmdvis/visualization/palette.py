"""A colour for every identity, the same in every frame and in every run."""

import colorsys

GOLDEN_RATIO = 0.618033988749895


def colour_of(number: int) -> tuple[int, int, int]:
    """RGB of an id: hues a golden section apart, so that neighbours differ, in three degrees of lightness."""
    hue, ring = (number * GOLDEN_RATIO) % 1, number % 3
    red, green, blue = colorsys.hsv_to_rgb(hue, (0.85, 0.6, 0.9)[ring], (0.95, 1.0, 0.75)[ring])
    return int(255 * red), int(255 * green), int(255 * blue)
