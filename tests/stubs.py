"""Loopback ports that are not the server a client hoped for."""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from chat_stub import ChatStub

from tests.certificates import make_certificates
from tests.faults import is_ordinary
from tests.listening import CHUNK_BYTES, LoopbackPort
from tests.resp import Frames, Request, parse_request

__all__ = [
    "ChatStub",
    "CloseAtOnce",
    "HttpPort",
    "NoScriptsServer",
    "OldServer",
    "RespStub",
    "Silent",
    "TlsAlert",
    "TlsPort",
]


class Silent(LoopbackPort):
    """Accepts, reads, and never answers."""

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read until the client leaves."""
        while await reader.read(CHUNK_BYTES):
            pass


class CloseAtOnce(LoopbackPort):
    """Accepts, and ends the stream before a word is said."""

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Say nothing."""


class HttpPort(LoopbackPort):
    """A web server: to whatever comes it answers that it was a bad request."""

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer once."""
        await reader.read(CHUNK_BYTES)
        page = b"<html><body><h1>400 Bad Request</h1></body></html>\r\n"
        head = (
            "HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n"
            f"Content-Length: {len(page)}\r\nConnection: close\r\n\r\n"
        )
        writer.write(head.encode() + page)
        await writer.drain()


class TlsPort(LoopbackPort):
    """Speaks TLS only, with a certificate of an authority that nobody knows.

    On a client that does not speak TLS it hangs up without a word, as OpenSSL does.

    Args:
        upstream: Path of a server's Unix socket; what arrives is handed on to it, so that any
            server can be reached by TLS. Without it nothing is answered after the handshake.
    """

    scheme: ClassVar[str] = "rediss"

    def __init__(self, upstream: str | None = None) -> None:
        self._upstream = upstream
        self._folder = tempfile.TemporaryDirectory(prefix="rm-")
        certificates = make_certificates(Path(self._folder.name))
        self.ca = str(certificates.ca)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificates.certificate, certificates.key)
        super().__init__(context)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relay both ways, or swallow what comes, until one side leaves."""
        if self._upstream is None:
            while await reader.read(CHUNK_BYTES):
                pass
            return
        server_reader, server_writer = await asyncio.open_unix_connection(self._upstream)
        relays = [
            asyncio.ensure_future(_relay(reader, server_writer)),
            asyncio.ensure_future(_relay(server_reader, writer)),
        ]
        try:
            await asyncio.wait(relays, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for relay in relays:
                relay.cancel()
            await asyncio.gather(*relays, return_exceptions=True)
            server_writer.close()

    def close(self) -> None:
        """Stop listening, close all connections, and remove the certificate."""
        super().close()
        self._folder.cleanup()


class TlsAlert(LoopbackPort):
    """To whatever comes it answers with a TLS alert, as implementations other than OpenSSL do."""

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Send a fatal `protocol_version` alert."""
        await reader.read(CHUNK_BYTES)
        writer.write(b"\x15\x03\x01\x00\x02\x02\x46")
        await writer.drain()


class RespStub(LoopbackPort):
    """Greets as a Redis server does, holds nothing, and knows no other commands.

    Args:
        version: What HELLO and INFO state.
        hello: Whether HELLO is known; it is since 6.0.
        errors: Error lines without the leading `-`, by command: `{"EVALSHA": "LOADING ..."}`.
            `"*"` stands for every command that is not part of the greeting.
    """

    def __init__(
        self, version: str = "7.2.4", *, hello: bool = True, errors: Mapping[str, str] | None = None
    ) -> None:
        self._version = version
        self._hello = hello
        self._errors = {name.encode(): text.encode() for name, text in (errors or {}).items()}
        self.requests: list[Request] = []
        super().__init__()

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer each command until the client leaves."""
        frames = Frames()
        while data := await reader.read(CHUNK_BYTES):
            for frame in frames.feed(data):
                request = parse_request(frame)
                self.requests.append(request)
                writer.write(self._answer(request))
            await writer.drain()

    def _answer(self, request: Request) -> bytes:
        name, words = request.name, [word.upper() for word in request.arguments]
        error = self._errors.get(name) or (is_ordinary(request) and self._errors.get(b"*"))
        if error:
            return b"-%b\r\n" % error
        known = {
            b"PING": b"+PONG\r\n",
            b"AUTH": b"+OK\r\n",
            b"SELECT": b"+OK\r\n",
            b"CLIENT": b"+OK\r\n" if b"SETNAME" in words else b"-ERR unknown subcommand\r\n",
            b"INFO": _bulk(f"# Server\r\nredis_version:{self._version}\r\nrole:master\r\n"),
            b"EVALSHA": b"-NOSCRIPT No matching script. Please use EVAL.\r\n",
        }
        if self._hello:
            known[b"HELLO"] = self._greeting(resp3=b"3" in words)
        return known.get(name, b"-ERR unknown command `%b`, with args beginning with: \r\n" % name)

    def _greeting(self, *, resp3: bool) -> bytes:
        facts = {
            "server": "redis",
            "version": self._version,
            "mode": "standalone",
            "role": "master",
        }
        body = b"".join(_bulk(text) for fact in facts.items() for text in fact)
        body += _bulk("proto") + (b":3\r\n" if resp3 else b":2\r\n") + _bulk("id") + b":1\r\n"
        return (b"%6\r\n" if resp3 else b"*12\r\n") + body


class OldServer(RespStub):
    """A server from before 6.2, which the library needs."""

    def __init__(self, version: str = "6.0.16") -> None:
        super().__init__(version, hello=int(version.partition(".")[0]) >= 6)


class NoScriptsServer(RespStub):
    """A server that forbids scripts, to this user or to all.

    Args:
        why: `"noperm"`, the rights of the user; `"unknown"`, the commands were taken away.
    """

    def __init__(self, why: str = "noperm") -> None:
        answers = {
            "noperm": "NOPERM this user has no permissions to run the '{}' command",
            "unknown": "ERR unknown command `{}`, with args beginning with: ",
        }
        names = ("EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "SCRIPT", "FCALL", "FUNCTION")
        super().__init__(errors={name: answers[why].format(name.lower()) for name in names})


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK_BYTES):
        writer.write(data)
        await writer.drain()


def _bulk(text: str) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(text), text.encode())
