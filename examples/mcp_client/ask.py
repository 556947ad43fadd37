"""A model's side of `sensorium mcp`, by the official client: what is missing, what is there, a look, and a proposal.

    python examples/mcp_client/ask.py corpus                              # starts `sensorium mcp corpus` by itself
    python examples/mcp_client/ask.py corpus --charter C.yaml --propose   # and proposes to go to the farthest gap
    python examples/mcp_client/ask.py --url http://127.0.0.1:7711/mcp --token mcp.token

A model would choose the tools by their descriptions; here they are called in turn. Needs the extra `mcp`.
"""

import argparse
import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from mcp import StdioServerParameters
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client


@asynccontextmanager
async def connected(asked: argparse.Namespace) -> AsyncIterator[Any]:
    """A client of a server that runs, or of one of its own on the standard streams."""
    if asked.url:
        headers = {"Authorization": f"Bearer {asked.token.read_text().strip()}"}
        async with (
            httpx2.AsyncClient(headers=headers) as http,
            Client(streamable_http_client(asked.url, http_client=http)) as client,
        ):
            yield client
        return
    grant = ["--may-propose", "--charter", str(asked.charter), "--seconds", str(asked.seconds)] if asked.propose else []
    sensorium = str(Path(sys.executable).with_name("sensorium"))
    async with Client(StdioServerParameters(command=sensorium, args=["mcp", str(asked.store), *grant])) as client:
        yield client


async def ask(asked: argparse.Namespace) -> None:
    """Tell what a store has, and lacks."""
    async with connected(asked) as client:
        tools = await client.list_tools()
        print("tools:", ", ".join(tool.name for tool in tools.tools))
        gaps = await told(client, "coverage_gaps")
        print(f"{gaps['episodes']} episodes")
        for device in gaps["devices"]:
            print(f"  {device['device']}: {device['visited']} of {device['parts']} parts; gaps {device['gaps'][:3]}")
        found = await told(client, "query_episodes", where="kind = 'full'", limit=1)
        for row in found["episodes"]:
            print(f"  newest: {row['episode']}, {row['duration_s']:.1f} s of {', '.join(row['streams'])}")
            await look(client, row["episode"], asked.picture)
        if asked.propose:
            await propose(client, gaps)
        for planner in (await told(client, "budgets"))["planners"]:
            print(f"  {planner['planner']}: {planner['got']:g} got of {planner['expected']:g} expected")


async def told(client: Any, tool: str, **arguments: Any) -> dict[str, Any]:
    """What a tool answers; an error ends this program, with its text."""
    result = await client.call_tool(tool, arguments)
    if result.is_error:
        sys.exit(f"{tool}: {result.content[0].text}")
    found: dict[str, Any] = result.structured_content
    return found


async def look(client: Any, episode: str, path: Path) -> None:
    """Keep the first second of an episode as a picture."""
    result = await client.call_tool("see_window", {"episode": episode, "length_s": 1.0})
    for content in result.content:
        if content.type == "image":
            path.write_bytes(base64.b64decode(content.data))
            print(f"  its first second is in {path}")


async def propose(client: Any, gaps: dict[str, Any]) -> None:
    """Offer to go to the first gap of each device."""
    for device in gaps["devices"]:
        if device["gaps"]:
            plan = {"plan": "viewpoint", "device": device["device"], "parameters": device["gaps"][0], "gain": 1.0}
            said = await told(client, "propose", **plan, rationale="the farthest from all that was recorded")
            print(f"  {said['state']} {json.dumps(said['parameters'])} {said['rule']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", nargs="?", type=Path, help="folder of a store")
    parser.add_argument("--url", default="", help="of a server that runs, instead")
    parser.add_argument("--token", type=Path, help="file with its token")
    parser.add_argument("--charter", type=Path, help="by which proposals are judged")
    parser.add_argument("--propose", action="store_true", help="propose to go to the first gap")
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="how long a proposal is to hold; a charter bounds it"
    )
    parser.add_argument("--picture", type=Path, default=Path("window.jpg"), help="where a window is kept")
    asked = parser.parse_args()
    if not asked.url and asked.store is None:
        parser.error("give a store, or --url with --token")
    asyncio.run(ask(asked))


if __name__ == "__main__":
    main()
