"""A bad network between devices and an ingest: it cuts, it forgets connections without a word, it is slow."""

import asyncio
import contextlib
import threading
from functools import partial
from typing import Literal

Weather = Literal["fair", "cut", "forgets", "slow"]
SLOW_BYTES_S = 8_000
PIECE_BYTES = 4_096


class Relay:
    """Passes what comes to `port` and the next one on to `target_port` and the next one, as the `weather` is.

    `cut`: connections are closed, and new ones too. `forgets`: those that are there when it begins stay open for ever,
    and nothing that is sent arrives; new ones work. `slow`: 64 kbit/s each way and connection.
    """

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self._weather: Weather = "fair"
        self._links: set[_Link] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._thread.start()
        self._servers = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        self.port: int = self._servers[0].sockets[0].getsockname()[1]

    def set(self, weather: Weather) -> None:
        """From now on; from any thread."""
        self._loop.call_soon_threadsafe(self._change, weather)

    def close(self) -> None:
        """Close everything, end the thread."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self) -> list[asyncio.Server]:
        for _ in range(50):
            control = await asyncio.start_server(partial(self._accept, 0), "127.0.0.1", 0)
            port = control.sockets[0].getsockname()[1]
            try:
                return [control, await asyncio.start_server(partial(self._accept, 1), "127.0.0.1", port + 1)]
            except OSError:  # taken
                control.close()
        raise RuntimeError("no two ports in a row are free")

    def _change(self, weather: Weather) -> None:
        self._weather = weather
        for link in list(self._links):
            if weather == "cut":
                link.close()
            elif weather == "forgets":
                link.forgotten = True

    async def _accept(self, which: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(writer)
        self._links.add(link)
        try:
            if self._weather == "cut":
                return
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target_port + which)
            link.writers.append(far_writer)
            await asyncio.gather(self._pump(link, reader, far_writer), self._pump(link, far_reader, writer))
        except (OSError, asyncio.CancelledError):
            pass  # one end is gone, and so is the other then
        finally:
            link.close()
            self._links.discard(link)

    async def _pump(self, link: "_Link", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(PIECE_BYTES):
            if self._weather == "slow":
                await asyncio.sleep(len(data) / SLOW_BYTES_S)
            if not link.forgotten:
                writer.write(data)
                await writer.drain()
        link.close()

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        for link in list(self._links):
            link.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Link:
    """One connection, both ways."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writers = [writer]
        self.forgotten = False

    def close(self) -> None:
        for writer in self.writers:
            with contextlib.suppress(RuntimeError):  # its loop is ending
                writer.close()
