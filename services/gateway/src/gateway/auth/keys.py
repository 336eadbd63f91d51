"""The issuer's public keys: a JWK set from a file or an address, kept, and fetched again when it may have changed."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import orjson
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

log = structlog.get_logger()

AGAIN_AFTER = 30.0
"""Seconds between two fetches that unknown key ids may cause."""
REFRESH_AFTER = 600.0
"""Seconds after which the set is fetched anew anyway: a key that its issuer withdrew must stop counting."""
_LIMIT = 1_000_000

KEY_TYPES = {"Ed25519": "OKP", "EdDSA": "OKP", "RS256": "RSA", "ES256": "EC"}
"""The algorithms that we accept, with the one type of key that each goes with. No symmetric one, and never `none`."""


class KeysAwayError(Exception):
    """No key could be loaded yet."""


class Keys:
    """Asks `source` at most once in AGAIN_AFTER seconds; what was loaded stays in use while the source is away."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._keys: list[object] = []
        self._text = b""
        self._asked = float("-inf")
        self._lock = asyncio.Lock()
        self.generation = 0
        """Grows whenever the set changed: what was verified with the old one is to be verified again."""

    @property
    def loaded(self) -> bool:
        return bool(self._keys)

    async def matching(self, algorithm: str, kid: str | None) -> Sequence[object]:
        """The keys that may have signed a token with this header; empty where there is none. Raises KeysAwayError."""
        found = self._find(algorithm, kid)
        if not found or time.monotonic() - self._asked > REFRESH_AFTER:
            await self.refresh()
            found = self._find(algorithm, kid)
        if not self._keys:
            raise KeysAwayError
        return found

    async def refresh(self, *, force: bool = False) -> None:
        """Fetches the set, unless that was done a moment ago."""
        async with self._lock:
            if not force and time.monotonic() - self._asked < AGAIN_AFTER and self._keys:
                return
            if not force and time.monotonic() - self._asked < 1:
                return
            self._asked = time.monotonic()
            try:
                text = await self._fetch()
                if text == self._text:
                    return
                keys = [key for key in KeySet.import_key_set(orjson.loads(text)).keys if _usable(key)]
            except (OSError, ValueError, TypeError, KeyError, JoseError, aiohttp.ClientError, TimeoutError) as error:
                log.warning("auth.keys_away", source=self._source, error=str(error) or type(error).__name__)
                return
            self._keys, self._text = list(keys), text
            self.generation += 1
            log.info("auth.keys_loaded", source=self._source, keys=len(keys))

    def _find(self, algorithm: str, kid: str | None) -> list[object]:
        wanted = KEY_TYPES[algorithm]
        keys = [key for key in self._keys if key.key_type == wanted]  # type: ignore[attr-defined]
        if kid is not None:
            keys = [key for key in keys if key.kid == kid]  # type: ignore[attr-defined]
        return keys[:8]

    async def _fetch(self) -> bytes:
        if not self._source.startswith(("http://", "https://")):
            return await asyncio.to_thread(Path(self._source).read_bytes)
        timeout = aiohttp.ClientTimeout(total=5)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(self._source) as answer:
            answer.raise_for_status()
            return await answer.content.read(_LIMIT)


def _usable(key: object) -> bool:
    described = key.as_dict(private=False)  # type: ignore[attr-defined]
    return bool(key.key_type in KEY_TYPES.values() and described.get("use", "sig") == "sig")  # type: ignore[attr-defined]
