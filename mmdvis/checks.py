"""Checks of what is given: that tensors agree on the axes they share, and that a name is one of those that mean something."""

from collections.abc import Collection

Size = tuple[int, int]  # height, width


def check_choice(name: str, value: str, allowed: Collection[str]) -> None:
    """Raises ValueError, which names all that is ``allowed``, unless ``value`` is among it."""
    if value not in allowed:
        raise ValueError(f'{name} must be {", ".join(map(repr, allowed))}, got {value!r}')


def check_shapes(owner: object, axes: dict[str, str]) -> None:
    """Compares axes of the same letter over the fields of ``owner``.

    Args:
        owner: the object that holds the tensors.
        axes: field name -> one letter an axis, as ``dict(embeds='BTQC', present='BT')``.

    Raises:
        ValueError: a field has another number of axes, or a letter stands for two lengths.
    """
    lengths: dict[str, tuple[int, str]] = {}
    for name, letters in axes.items():
        shape = tuple(getattr(owner, name).shape)
        if len(shape) != len(letters):
            raise ValueError(f'{type(owner).__name__}.{name} must have the axes {letters}, got the shape {shape}')
        for letter, length in zip(letters, shape):
            first, where = lengths.setdefault(letter, (length, name))
            if first != length:
                raise ValueError(
                    f'{type(owner).__name__}: axis {letter} is {first} in {where} and {length} in {name}; '
                    'fields that share an axis must share its length'
                )
