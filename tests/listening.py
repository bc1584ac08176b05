"""The base of the stub servers: a loopback port and what happens on its connections."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from types import TracebackType
from typing import ClassVar, Self

from tests.background import Background
from tests.servers import HOST

CHUNK_BYTES = 65_536


class LoopbackPort:
    """Listens on a free loopback port from construction to `close`.

    Subclasses say in `converse` what happens on a connection; it is closed afterwards.
    """

    scheme: ClassVar[str] = "redis"

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.connections = 0
        self._background = Background()
        self._server = self._background.run(self._listen(tls))
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"{self.scheme}://{HOST}:{self.port}"

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk to one client until it is to be cut off."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop listening and close all connections; a second call does nothing."""
        if not self._background.closed:
            self._background.run(self._stop())
            self._background.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def _listen(self, tls: ssl.SSLContext | None) -> asyncio.Server:
        return await asyncio.start_server(self._serve, HOST, 0, ssl=tls)

    async def _stop(self) -> None:
        self._server.close()
        # whom it has just let in must have begun, or nobody closes that connection
        for _ in range(5):
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        # a client may leave whenever it likes, without a farewell
        with suppress(ConnectionError, ssl.SSLError):
            try:
                await self.converse(reader, writer)
            finally:
                writer.close()
                await writer.wait_closed()
