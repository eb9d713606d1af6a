"""Shape and enum validation."""

from collections.abc import Collection

from mmdvis.errors import OptionError

Size = tuple[int, int]  # height, width


def check_choice(name: str, value: str, allowed: Collection[str]) -> None:
    """Checks that an option has one of the allowed values.

    Args:
        name: Name of the option for the error message.
        value: Value of the option.
        allowed: Allowed values.

    Raises:
        OptionError: If ``value`` is not in ``allowed``.
    """
    if value not in allowed:
        raise OptionError(f'{name} must be {", ".join(map(repr, allowed))}, got {value!r}')


def check_shapes(owner: object, axes: dict[str, str]) -> None:
    """Checks that axes with the same letter have the same length in all fields of an object.

    Args:
        owner: Object that holds the tensors.
        axes: Field name -> one letter per axis, for example ``dict(embeds='BTQC', present='BT')``.

    Raises:
        ValueError: If a field has a different number of axes, or axes with the same letter differ in length.
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
