"""The headers of MessagePack: how many parts packed bytes hold, told before any is built."""

from __future__ import annotations

from redis_memory.core.extensions import CONTAINER_CODE

# The header of an extension of one byte: each tuple, set and frozenset begins with one.
MARK_HEADER = 0xD4

# What the length behind the header takes, and what it does not count: the code of an extension.
_MEASURED = {
    0xC4: (1, 0),  # bytes
    0xC5: (2, 0),
    0xC6: (4, 0),
    0xC7: (1, 1),  # extensions
    0xC8: (2, 1),
    0xC9: (4, 1),
    0xD9: (1, 0),  # str
    0xDA: (2, 0),
    0xDB: (4, 0),
}
# A list or dict is its header alone here, for what it holds has headers of its own.
_FIXED = {
    **{0xA0 + length: 1 + length for length in range(32)},  # str
    **dict(zip(range(0xCA, 0xD4), (5, 9, 2, 3, 5, 9, 2, 3, 5, 9), strict=True)),  # float, int
    **dict(zip(range(0xD5, 0xD9), (4, 6, 10, 18), strict=True)),  # extensions
    **dict(zip(range(0xDC, 0xE0), (3, 5, 3, 5), strict=True)),  # list, dict
}
# Bytes to the next header; 0 where that takes a closer look.
_LOOK_CLOSER = {MARK_HEADER, *_MEASURED}
_STRIDES = [0 if head in _LOOK_CLOSER else _FIXED.get(head, 1) for head in range(256)]


def has_more_nodes(packed: bytes, limit: int) -> bool:
    """Whether whole MessagePack data holds more parts than the limit.

    Cost: about 0.1 us for each part up to the limit, no memory.
    """
    position, nodes, end = 0, 0, len(packed)
    while position < end and nodes <= limit:
        stride = _STRIDES[packed[position]]
        nodes += 1
        if stride:
            position += stride
        elif packed[position] == MARK_HEADER:
            nodes -= packed[position + 1] == CONTAINER_CODE
            position += 3
        else:
            width, uncounted = _MEASURED[packed[position]]
            body = position + 1 + width
            position = body + uncounted + int.from_bytes(packed[position + 1 : body], "big")
    return nodes > limit
