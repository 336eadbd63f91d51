"""The life of a service beside its versions: which of them new processes get, and whether there may be any.

New processes get the current version: the latest one, unless it is pinned. A canary takes a share of them; which ones, the
hash of their key (or pid) says, so that the same request has the same version, and a growing share keeps those that it had. A
deprecated version warns, and from its sunset on takes no new processes. A retired service takes none at all; running ones go on.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from process_svc.domain.process import Refusal


@dataclass(frozen=True, slots=True)
class Deprecation:
    at: datetime
    sunset: datetime | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Canary:
    """`share` (0 to 1) of new processes get `version`."""

    version: int
    share: float


@dataclass(frozen=True, slots=True)
class Life:
    """`pinned`: the version that new processes get where it is not the latest. `number`: how often it was changed."""

    latest: int
    number: int = 0
    pinned: int | None = None
    retired_at: datetime | None = None
    canary: Canary | None = None
    deprecated: Mapping[int, Deprecation] = field(default_factory=dict)

    @property
    def current(self) -> int:
        return self.latest if self.pinned is None else self.pinned

    @property
    def candidates(self) -> tuple[int, ...]:
        """What a new process may get that asks for no version."""
        return (self.current,) if self.canary is None else (self.current, self.canary.version)

    @property
    def revision(self) -> int:
        """Rises by one with each new version and each change of the life."""
        return self.latest + self.number


def position(service: str, key: str) -> float:
    """Where a new process falls in [0, 1): evenly spread, the same for the same."""
    digest = hashlib.blake2b(f"{service}\x00{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def version_for(life: Life, service: str, key: str, now: datetime) -> int:
    """The version of a new process with this key (or pid, as text), where it asks for none. A canary ends at its sunset."""
    canary = life.canary
    if (
        canary is not None
        and position(service, key) < canary.share
        and refused(life, service, canary.version, now) is None
    ):
        return canary.version
    return life.current


def refused(life: Life, service: str, version: int, now: datetime) -> Refusal | None:
    """Why there may be no new process of this version; None where there may."""
    if life.retired_at is not None:
        return Refusal("Service is retired", f"The service {service} is retired: it takes no new processes.")
    found = life.deprecated.get(version)
    if found is not None and found.sunset is not None and found.sunset <= now:
        return Refusal(
            "Version is retired",
            f"Version {version} of {service} takes no new processes since {found.sunset.isoformat()};"
            + (" publish another one." if version == life.current else f" new ones get version {life.current}."),
        )
    return None


def published(life: Life, *, staged: bool) -> Life:
    """With one more version. It is the current one at once, unless it is staged or a canary runs."""
    pinned = life.current if staged or life.canary is not None else None
    return replace(life, latest=life.latest + 1, pinned=pinned)


def changed(
    life: Life,
    action: str,
    now: datetime,
    *,
    version: int | None = None,
    share: float | None = None,
    base: int | None = None,
    sunset: datetime | None = None,
    reason: str | None = None,
) -> Life | Refusal:
    """After `retire`, `unretire`, `canary`, `promote`, `abort`, `publish`, `deprecate` or `undeprecate`.

    `canary`: `version` takes `share`, the others get `base`: the current version, or where that is the canary itself, the one
    before it. `publish`: new processes get `version` from now on.
    """
    for wanted, name in ((version, "version"), (base, "base")):
        if wanted is not None and not 1 <= wanted <= life.latest:
            return Refusal(
                "Not found", f"There is no version {wanted}; the newest is {life.latest}.", 404, pointer=f"/{name}"
            )
    if action in ("retire", "unretire"):
        if (life.retired_at is not None) == (action == "retire"):
            return Refusal("Nothing to change", f"The service is {'' if action == 'retire' else 'not '}retired.")
        return _next(life, retired_at=now if action == "retire" else None)
    if action == "canary":
        assert version is not None
        assert share is not None
        return _with_canary(life, version, share, base, now)
    if action in ("promote", "abort"):
        if life.canary is None:
            return Refusal("No canary", "No canary runs: there is nothing to promote or to abort.")
        if action == "abort":
            return _next(life, canary=None, pinned=_pin(life, life.current))
        return _publish(life, life.canary.version, now)
    assert version is not None
    if action == "publish":
        return _publish(life, version, now)
    deprecated = dict(life.deprecated)
    if action == "deprecate":
        deprecated[version] = Deprecation(now, sunset, reason)
    elif deprecated.pop(version, None) is None:
        return Refusal("Nothing to change", f"Version {version} is not deprecated.")
    return _next(life, deprecated=deprecated)


def _publish(life: Life, version: int, now: datetime) -> Life | Refusal:
    return _sunset(life, version, now) or _next(life, canary=None, pinned=_pin(life, version))


def _sunset(life: Life, version: int, now: datetime) -> Refusal | None:
    """Why new processes can't get this version."""
    found = life.deprecated.get(version)
    if found is None or found.sunset is None or found.sunset > now:
        return None
    return Refusal(
        "Version is retired",
        f"Version {version} takes no new processes since {found.sunset.isoformat()}. Undeprecate it first.",
    )


def _with_canary(life: Life, version: int, share: float, base: int | None, now: datetime) -> Life | Refusal:
    if base is None:
        base = life.current if life.current != version else version - 1
    if base < 1 or base == version:
        return Refusal(
            "No other version", f"A canary of version {version} needs another one for the rest.", 422, pointer="/base"
        )
    return (
        _sunset(life, version, now)
        or _sunset(life, base, now)
        or _next(life, canary=Canary(version, share), pinned=base)
    )


def _pin(life: Life, version: int) -> int | None:
    return None if version == life.latest else version


def _next(life: Life, **changes: object) -> Life:
    return replace(life, number=life.number + 1, **changes)  # type: ignore[arg-type]


def state(life: Life, version: int, now: datetime) -> str:
    """Of a version: `current`, `canary`, `deprecated`, `sunset`, `staged` or `superseded`; all are `retired` with the service."""
    if life.retired_at is not None:
        return "retired"
    found = life.deprecated.get(version)
    if found is not None and found.sunset is not None and found.sunset <= now:
        return "sunset"
    if life.canary is not None and life.canary.version == version:
        return "canary"
    if found is not None:
        return "deprecated"
    if version == life.current:
        return "current"
    return "staged" if version > life.current else "superseded"
