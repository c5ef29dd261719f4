"""Where files may be fetched from: an address that a product's answer names is a stranger's word."""

import contextlib
import ipaddress
from collections.abc import Iterable

import aiohttp
import aiohttp.abc
from yarl import URL

from syncd.errors import Forbidden


class PrivateAddress(OSError):
    """A name that leads into a private network."""


class PublicOnly(aiohttp.abc.AbstractResolver):
    """A resolver that refuses names that lead into a private network."""

    def __init__(self) -> None:
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[aiohttp.abc.ResolveResult]:
        """The public addresses of `host`; OSError when it has none."""
        found = await self._resolver.resolve(host, port, family)  # type: ignore[arg-type]
        public = [entry for entry in found if ipaddress.ip_address(entry["host"]).is_global]
        if not public:
            raise PrivateAddress(f"{host} leads to a private address")
        return public

    async def close(self) -> None:
        """Release the inner resolver."""
        await self._resolver.close()


def address(base: URL, url: str) -> URL:
    """The address of a file, as seen from `base`, without a user in it. Raises Forbidden for what is none."""
    try:
        target = base.join(URL(url)).with_user(None)
    except ValueError as error:
        raise Forbidden("a file's address is no URL; nothing was downloaded") from error
    if target.scheme not in {"http", "https"}:
        raise Forbidden(f"a file's address begins with {target.scheme or 'nothing'}; nothing was downloaded")
    return target


def must_be_allowed(target: URL, hosts: Iterable[str], private: bool, label: str) -> None:
    """Raise Forbidden unless the host is one of `hosts` or a subdomain of one, and no private address."""
    host = target.host or ""
    if not any(host == name or host.endswith("." + name) for name in hosts):
        raise Forbidden(f"{label}: {host or 'this address'} is not a host of this account; nothing was downloaded")
    with contextlib.suppress(ValueError):  # a name: what it leads to, `PublicOnly` will see
        if not private and not ipaddress.ip_address(host).is_global:
            raise Forbidden(f"{label}: {host} is a private address; nothing was downloaded")
