"""Where a client stands: the next offset of every partition of one topic, as the `id` of a message.

`p12.55.3.9` stands in process-events; `r...` in resource-events. Whoever shows it again has seen everything below those offsets.
"""

import re
from collections.abc import Sequence

_FORM = re.compile(r"([a-z])([0-9]{1,18}(?:\.[0-9]{1,18}){0,999})")


class PositionError(ValueError):
    """Not a position of ours."""


def encode(prefix: str, offsets: Sequence[int]) -> str:
    return prefix + ".".join(map(str, offsets))


def decode(text: str) -> tuple[str, list[int]]:
    """(prefix, offsets); raises PositionError."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise PositionError("`after` must be the `id` of a message of this stream")
    return found[1], [int(part) for part in found[2].split(".")]
