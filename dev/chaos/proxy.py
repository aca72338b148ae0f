"""A TCP port before a database, whose connections can be reset, or fall silent without an end.

Silence is half open: both sides see an established connection, what one of them writes is taken and
goes nowhere. When the silence ends it arrives after all, as late as that.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from typing import Any

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_READ_BYTES = 65536
_START_SECONDS = 30.0


class Proxy:
    """Forwards a port of its own to that of a database; runs on a thread of its own."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._connections: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._server = self._await(asyncio.start_server(self._connect, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]

    def reset(self) -> None:
        """End all connections by a reset, as a router would that lost its memory."""
        self._await(self._reset())

    def hang(self) -> None:
        """Let nothing through from now on, and end nothing."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def flow(self) -> None:
        """Let everything through again, also what was written meanwhile."""
        self._loop.call_soon_threadsafe(self._flowing.set)

    def stop(self) -> None:
        """End all connections and the thread."""
        self._await(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _await(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_START_SECONDS)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            await self._flowing.wait()
            with contextlib.suppress(OSError):
                far_reader, far_writer = await asyncio.open_connection(*self._target)
                await self._forward((reader, writer), (far_reader, far_writer))
        except asyncio.CancelledError:
            pass
        finally:
            _abort(writer)
            self._tasks.discard(task)

    async def _forward(self, near: tuple, far: tuple) -> None:
        writers = {near[1], far[1]}
        self._connections |= writers
        pumps = [
            asyncio.ensure_future(self._pump(near[0], far[1])),
            asyncio.ensure_future(self._pump(far[0], near[1])),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._connections -= writers
            for writer in writers:
                writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_READ_BYTES):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        await self._flowing.wait()

    async def _reset(self) -> None:
        for writer in [*self._connections]:
            _abort(writer)

    async def _stop(self) -> None:
        self._server.close()
        await self._reset()
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _abort(writer: asyncio.StreamWriter) -> None:
    if (connection := writer.get_extra_info("socket")) is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()
