"""An MCP client that reads on while others plan: every tool and a card in turn, by the official client over HTTP."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

EVERY_S = 2.0


class McpReading:
    """What one client was told, from a thread of its own until `ends`: `calls` by tool, `wrong` in words, the latest
    answers by tool in `said`, and, in order, how much of a device's reach was `visited`."""

    def __init__(self, url: str, token: str) -> None:
        self._url, self._headers = url, {"Authorization": f"Bearer {token}"}
        self._over = threading.Event()
        self.calls: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.said: dict[str, dict[str, Any]] = {}
        self.visited: list[int] = []
        self.cards = 0

    @contextmanager
    def going_on(self) -> Iterator["McpReading"]:
        """Until the end of a `with`; then everything is read once more."""
        thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join()

    async def _run(self) -> None:
        try:
            async with (
                httpx2.AsyncClient(headers=self._headers, timeout=60.0, trust_env=False) as http,
                Client(streamable_http_client(self._url, http_client=http)) as client,
            ):
                while True:
                    is_last = self._over.is_set()
                    await self._round(client)
                    if is_last:
                        return
                    await asyncio.to_thread(self._over.wait, EVERY_S)
        except Exception as error:  # whatever it is, the judge is to say so
            self.wrong.append(f"the client ended by {_whole(error)}")

    async def _round(self, client: Any) -> None:
        gaps = await self._call(client, "coverage_gaps")
        self.visited += [each["visited"] for each in gaps.get("devices", [])[:1]]
        await self._call(client, "budgets")
        await self._call(client, "proposals", limit=100)
        found = await self._call(
            client, "query_episodes", where="kind = 'full'", order_by="committed_utc desc", limit=1
        )
        for row in found.get("episodes", []):
            await self._call(client, "see_preview", episode=row["episode"])
            await self._call(client, "see_window", episode=row["episode"], length_s=1.0)
            read = await client.read_resource(f"sensorium://cards/{row['episode']}")
            card = json.loads(read.contents[0].text)
            self.cards += card["episode"] == row["episode"]
            await self._call(client, "why", device=row["device"], time=f"{card.get('start_ns', 0)}ns")

    async def _call(self, client: Any, tool: str, **arguments: Any) -> dict[str, Any]:
        self.calls[tool] += 1
        result = await client.call_tool(tool, arguments)
        if result.is_error:
            self.wrong.append(f"{tool} {arguments}: {result.content[0].text}")
            return {}
        self.said[tool] = result.structured_content
        return self.said[tool]


def _whole(error: BaseException) -> str:
    """With what is in a group of errors."""
    inner = ", ".join(map(_whole, error.exceptions)) if isinstance(error, BaseExceptionGroup) else str(error)
    return f"{type(error).__name__}: {inner}"
