"""Finding out why a server that was never reached does not answer: TLS on one side only."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress

from redis_memory.errors import ConfigurationError
from redis_memory.link.address import Address
from redis_memory.link.failures import LinkFailureError

# How the records begin by which TLS answers a greeting (RFC 8446, section 5.1).
_ALERT, _HANDSHAKE = b"\x15", b"\x16"

# Somebody was there a moment ago, and answers a second question as fast as the first.
_PROBE_S = 0.05


def explained(failure: LinkFailureError, address: Address) -> ConfigurationError | None:
    """The error for a url that must begin otherwise, None when that is not the reason. Blocking.

    A TLS port hangs up on plain text. A plain port takes a TLS greeting for the beginning of a
    command, and waits for its end.
    """
    host, port = address.options.get("host"), address.options.get("port", 6379)
    if host is None:
        return None
    is_tls = "ssl" in address.connection_class.__name__.lower()
    if failure.hung_up and not is_tls and _speaks_tls(host, port):
        return ConfigurationError(f"{address.label} expects TLS: its url begins with rediss://")
    if failure.timed_out and is_tls and _speaks_plain(host, port):
        return ConfigurationError(f"{address.label} is without TLS: its url begins with redis://")
    return None


def _speaks_tls(host: str, port: int) -> bool:
    context = ssl.create_default_context()
    # nothing is sent or believed: only that somebody speaks TLS counts
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    # not `wrap_socket`: it leaves its socket open where the other side hangs up first
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing).do_handshake()
    try:
        with socket.create_connection((host, port), _PROBE_S) as plain:
            plain.sendall(outgoing.read())
            return plain.recv(1) in (_ALERT, _HANDSHAKE)
    except OSError:
        return False


def _speaks_plain(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), _PROBE_S) as plain:
            plain.sendall(b"PING\r\n")
            return plain.recv(1) in (b"+", b"-")
    except OSError:
        return False
