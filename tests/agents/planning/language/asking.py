"""A language planner in front of a server, over one device with a place to go to."""

from typing import Any

from sensorium.agents.planning.card import EpisodeCard
from sensorium.agents.planning.language.config import LanguageConfig
from sensorium.agents.planning.language.planner import LanguagePlanner
from sensorium.agents.planning.planner import Reach
from sensorium.drivers.controls import Control
from tests.agents.planning.language.chat_server import ChatServer

PLACES = (
    Control(name="x_m", plan="viewpoint", unit="m", low=0, high=8, cell=1, cost_s_per_unit=2),
    Control(name="y_m", plan="viewpoint", unit="m", low=0, high=4, cell=1, cost_s_per_unit=2),
)
REACHES = [Reach(device="rover", controls=PLACES)]
THERE: dict[str, Any] = {
    "plan": "viewpoint",
    "device": "rover",
    "parameters": {"x_m": 6.5, "y_m": 1.5},
    "gain": 2.0,
    "prediction": "gravel",
    "rationale": "nobody was there",
}


def planner_at(server: ChatServer, **settings: Any) -> LanguagePlanner:
    """One that gives up soon."""
    said: dict[str, Any] = {"url": server.url, "model": "m", "seconds": 30.0} | settings
    return LanguageConfig(**said).make(REACHES, 0)


def card(number: int, x_m: float, y_m: float, **said: Any) -> EpisodeCard:
    """An episode of two seconds and a megabyte at a place."""
    about: dict[str, Any] = {"mission": "survey", "stored_bytes": 1_000_000} | said
    start_ns = number * 2_000_000_000
    return EpisodeCard(
        episode=f"0199-{number:08d}",
        device="rover",
        start_ns=start_ns,
        end_ns=start_ns + 2_000_000_000,
        where={"x_m": x_m, "y_m": y_m},
        **about,
    )


def lines(planner: LanguagePlanner, kind: str = "trouble") -> list[str]:
    """What it has written of a kind since it was asked last."""
    return [entry.text for entry in planner.written() if entry.kind == kind]
