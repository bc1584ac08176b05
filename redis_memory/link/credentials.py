"""Passwords of urls: left out of pickles, and found again where the pickle is opened."""

from __future__ import annotations

import os
from urllib.parse import unquote, urlsplit, urlunsplit

from redis_memory.errors import ConfigurationError

_known: dict[str, str] = {}
_ENVIRONMENT = ("REDIS_MEMORY_URL", "REDIS_URL")


def without_password(url: str) -> str:
    """The url with the user but without the password, and without those that its query holds.

    Raises:
        ConfigurationError: It is no url.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        # from None: the text of this error may hold the password
        raise ConfigurationError("the url is malformed (its host, perhaps)") from None
    user, at, host = parts.netloc.rpartition("@")
    query = "&".join(filter(_is_public, parts.query.split("&")))
    if not at and query == parts.query:
        return url
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}{at}{host}", query=query))


def _is_public(option: str) -> bool:
    # `password`, and `ssl_password`, that of a key file
    return "password" not in unquote(option.partition("=")[0]).lower()


def remember(url: str | None) -> None:
    """Note a url that this process connects to."""
    if url is not None and without_password(url) != url:
        _known[without_password(url)] = url


def completed(public_url: str) -> str:
    """The url with the password that this process or its environment knows for it."""
    if public_url in _known:
        return _known[public_url]
    for name in _ENVIRONMENT:
        url = os.environ.get(name)
        if url is not None and without_password(url) == public_url:
            return url
    return public_url
