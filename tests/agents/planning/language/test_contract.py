"""The language planner keeps the contract of planners, whether its endpoint proposes or says nonsense."""

from collections.abc import Iterator

import pytest

pytest.importorskip("httpx2", reason="pip install 'sensorium[llm]'")

from sensorium.agents.planning.language.config import LanguageConfig
from sensorium.agents.planning.testing import PlannerTests
from tests.agents.planning.language.chat_server import Answer, ChatServer, proposes, says

GOOD = {"plan": "viewpoint", "device": "rover-1", "parameters": {"x_m": 1.5, "y_m": 0.5}, "gain": 1.0}
ANSWERS: list[Answer] = [proposes(GOOD), says("no idea")]


@pytest.fixture(autouse=True, scope="module", params=range(len(ANSWERS)), ids=["good", "words"])
def _endpoint(request: pytest.FixtureRequest) -> Iterator[None]:
    with ChatServer(ANSWERS[request.param]).serving() as server:
        TestLanguage.url = server.url
        yield


class TestLanguage(PlannerTests):
    """Whatever the endpoint says."""

    url = ""

    def config(self) -> LanguageConfig:
        return LanguageConfig(url=self.url, model="m", tokens=10**9)
