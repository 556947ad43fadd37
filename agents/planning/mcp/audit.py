"""The audit of what a model asks: who asked for what, and how it was answered, as lines of the planning log."""

import json
import logging
from collections.abc import Mapping
from typing import Any

from sensorium.agents.planning.language.quoted import quoted
from sensorium.agents.planning.log import PlanningLog, PlanningNote

log = logging.getLogger(__name__)

AUDITED = ("initialize", "tools/call", "resources/read")
_MOST_SAID = 1000


class Audit:
    """A middleware of the server: what is audited is in the log before its answer goes out; what cannot be is not
    answered. Who asks is known by the name that it gives itself, and as who has the token, where there is one."""

    def __init__(self, planning_log: PlanningLog) -> None:
        self._log = planning_log

    async def __call__(self, context: Any, call_next: Any) -> Any:
        if context.method not in AUDITED:
            return await call_next(context)
        asked = context.params if isinstance(context.params, Mapping) else {}
        try:
            result = await call_next(context)
        except Exception as error:
            await self._note(context, asked, f"error: {error}")
            raise
        is_error = getattr(result, "is_error", None) or (isinstance(result, Mapping) and result.get("isError"))
        await self._note(context, asked, "failed" if is_error else "answered")
        return result

    async def _note(self, context: Any, asked: Mapping[str, Any], became: str) -> None:
        said: dict[str, Any] = {"method": context.method, "became": quoted(became, 200)}
        target = asked.get("name") or asked.get("uri") or (asked.get("clientInfo") or {}).get("name") or ""
        said["target"] = quoted(target, 200)
        if arguments := asked.get("arguments"):
            said["arguments"] = quoted(json.dumps(arguments, default=str), _MOST_SAID)
        note = PlanningNote(planner=who_asks(context), name="mcp", value=said)
        self._log.add(note)  # a line and its sync: others wait so long, and no thread is started


def who_asks(context: Any) -> str:
    """The name that a client gives itself: `mcp:NAME`."""
    known = getattr(getattr(context, "session", None), "client_params", None)
    name = getattr(getattr(known, "client_info", None), "name", "")
    return f"mcp:{quoted(name or 'unknown', 60)}"
