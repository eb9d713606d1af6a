"""Random damages to JSON content and to bytes."""

import copy
import json
import random
from typing import Any

ODD = [
    None,
    True,
    False,
    0,
    -1,
    2,
    255,
    1 << 40,
    -(1 << 70),
    0.5,
    float('nan'),
    float('inf'),
    1e308,
    '',
    '0',
    'x',
    '../../escaped',
    '/escaped',
    'a\0b',
    'é' * 300,
    [],
    {},
    [[]],
    [1, 2, 3],
    {'id': 1},
]


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """Paths of all entries of nested lists and dicts; of long lists only the first and last entries."""
    if isinstance(value, dict):
        keys = list(value)
    elif isinstance(value, list):
        keys = [*range(min(len(value), 6)), *range(max(len(value) - 2, 6), len(value))]
    else:
        return []
    return [found for key in keys for found in ((*path, key), *places(value[key], (*path, key)))]


def damaged_json(content: Any, rng: random.Random | None) -> str:
    """Text of a JSON file with one or two damages, of its entries or of its characters; without ``rng``, none."""
    if rng is None:
        return json.dumps(content)
    content = copy.deepcopy(content)
    for _ in range(rng.choice([1, 1, 2])):
        options = places(content)
        if not options or rng.random() < 0.03:
            return json.dumps(rng.choice(ODD))
        *path, key = rng.choice(options)
        owner = content
        for step in path:
            owner = owner[step]
        value, kind = owner[key], rng.choice(['odd', 'odd', 'delete', 'double', 'swap', 'text', 'number'])
        if kind == 'delete':
            del owner[key]
        elif kind == 'double' and isinstance(owner, list):
            owner.insert(key, copy.deepcopy(value))
        elif kind == 'swap':
            other = rng.choice(list(owner) if isinstance(owner, dict) else range(len(owner)))
            owner[key], owner[other] = owner[other], owner[key]
        elif kind == 'text' and isinstance(value, str) and value:
            k = rng.randrange(len(value))
            owner[key] = value[:k] + rng.choice(['', chr(rng.randrange(48, 112)), 'é']) + value[k + 1 :]
        elif kind == 'number' and isinstance(value, (int, float)):
            owner[key] = rng.choice([value + 1, -value, value * 10, value / 3, 10**9])
        else:
            owner[key] = copy.deepcopy(rng.choice(ODD))
    text = json.dumps(content)
    if rng.random() < 0.1:
        k = rng.randrange(len(text))
        text = text[:k] if rng.random() < 0.5 else text[:k] + rng.choice('{}[]",:0é') + text[k + 1 :]
    return text


def damaged_bytes(content: bytes, rng: random.Random | None) -> bytes:
    """Bytes with a flipped bit, a cut, a hole, a repetition or foreign bytes in them; without ``rng``, as they are."""
    if rng is None:
        return content
    kind, k = rng.choice(['flip', 'flip', 'cut', 'hole', 'repeat', 'foreign']), rng.randrange(len(content))
    length = rng.randrange(1, 64)
    if kind == 'flip':
        return content[:k] + bytes([content[k] ^ 1 << rng.randrange(8)]) + content[k + 1 :]
    if kind == 'cut':
        return content[:k]
    if kind == 'hole':
        return content[:k] + content[k + length :]
    if kind == 'repeat':
        return content[: k + length] + content[k:]
    return content[:k] + rng.randbytes(length) + content[k + length :]
