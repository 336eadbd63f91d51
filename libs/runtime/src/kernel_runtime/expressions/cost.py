"""What an expression may cost at most, told before it is evaluated, from its source and from the size of what it sees.

The engine stops after 10,000 iterations, but one iteration may compare or copy all the data, and `map` copies its result at
each step. So: nodes looked at = data × (mentions outside loops + mentions inside loops × iterations), and a list squared for
each loop.
A text counts one node per 16 characters. A million nodes take 10 to 90 ms.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

ITERATIONS: Final = 10_000
LIMIT: Final = 1_000_000

_MACROS: Final = frozenset({"map", "filter", "all", "exists", "exists_one"})
_TOKEN: Final = re.compile(
    r"""(?P<comment>//[^\n]*)
      | (?P<text>(?:[rR][bB]?|[bB][rR])(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"[^"\n]*"|'[^'\n]*')
        | [bB]?(?:\"{3}(?:\\.|.)*?\"{3}|'{3}(?:\\.|.)*?'{3}|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
      | (?P<word>[A-Za-z_][A-Za-z_0-9]*)
      | (?P<open>[(\[{]) | (?P<close>[)\]}]) | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Profile:
    """Mentions of the data outside and inside of loops, other names inside, loops, how deep they nest, literals."""

    outside: int
    inside: int
    locals: int
    loops: int
    depth: int
    entries: int
    """Of list and map literals, at most."""
    length: int


@dataclass(frozen=True, slots=True)
class Size:
    """Nodes of some data, and the entries of its longest list or map."""

    nodes: int
    longest: int


def profile(source: str, roots: frozenset[str]) -> Profile:
    """Counts in CEL source that compiles; `roots` are the names of the data."""
    outside = inside = names = loops = depth = entries = 0
    brackets: list[bool] = []
    before, last = "", ""
    for match in _TOKEN.finditer(source):
        kind, token = match.lastgroup, match.group()
        if kind == "comment" or token.isspace():
            continue
        if kind == "open":
            loop = token == "(" and last in _MACROS and before == "."
            brackets.append(loop)
            loops += loop
            depth = max(depth, sum(brackets))
        elif kind == "close" and brackets:
            brackets.pop()
        elif kind == "word" and last != ".":
            data, looping = token in roots, any(brackets)
            outside += data and not looping
            inside += data and looping
            names += looping and not data
        entries += token == ","
        before, last = last, token
    return Profile(outside, inside, names, loops, depth, entries + 1, len(source))


def size(value: Any) -> Size:
    """Of JSON data; stops counting where it is too much for anything."""
    nodes = longest = 0
    stack = [value]
    while stack and nodes <= LIMIT:
        item = stack.pop()
        nodes += 1
        if isinstance(item, str):
            nodes += len(item) // 16
        elif isinstance(item, Mapping):
            nodes += sum(1 + len(key) // 16 for key in item)
            longest = max(longest, len(item))
            stack.extend(item.values())
        elif isinstance(item, Sequence):
            longest = max(longest, len(item))
            stack.extend(item)
    return Size(nodes, longest)


def cost(profile: Profile, data: Size) -> int:
    """Nodes that the expression looks at, at most."""
    nodes = data.nodes + profile.entries + profile.length // 16
    once = nodes * (profile.outside + 1)
    if not profile.loops:
        return once
    longest = min(max(data.longest, profile.entries), ITERATIONS)
    rounds: int = min(ITERATIONS, longest**profile.depth)
    copying: int = profile.loops * longest**2 // 2
    if profile.depth == 1:
        # A loop's own variable walks over the data once; only mentions of the data see all of it in each round.
        return once + copying + nodes * (profile.locals + profile.inside * rounds)
    return once + copying + nodes * rounds * max(1, profile.inside)
