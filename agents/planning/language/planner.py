"""The planner `language`: a model reads what is covered and what came of its plans, and writes proposals."""

import json
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from sensorium.agents.planning.card import EpisodeCard
from sensorium.agents.planning.language.answer import ProposedPlan, answer_schema, read_answer
from sensorium.agents.planning.language.endpoint import ChatAnswer, EndpointFailed
from sensorium.agents.planning.language.question import Question
from sensorium.agents.planning.language.quoted import SYSTEM, quoted
from sensorium.agents.planning.notebook import NotebookEntry, NoteKind, ProposalFate
from sensorium.agents.planning.planner import Reach
from sensorium.agents.planning.proposal import Proposal

NAME = "language"
MOST_HYPOTHESES = 3
_REMEMBERED = 40


class Endpoint(Protocol):
    """Whoever answers; see `ChatEndpoint`."""

    @property
    def model(self) -> str: ...

    @property
    def form(self) -> str: ...

    def ask(self, system: str, user: str, schema: dict[str, Any], pictures: Sequence[str] = ()) -> ChatAnswer:
        """One answer, or `EndpointFailed`."""
        ...


class LanguagePlanner:
    """Asks a model at each `suggest`, once. Whatever goes wrong is a line of its notebook, and no proposals.

    What a model answers is checked for its form alone: what is allowed, an adjudicator says. It is not asked while its
    endpoint wants to be left alone, nor when its tokens are spent.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        reaches: Sequence[Reach],
        *,
        prompt_chars: int = 16_000,
        pictures: int = 4,
        most_tokens: int = 1_000_000,
        monotonic: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._endpoint, self._reaches, self._most_tokens = endpoint, tuple(reaches), most_tokens
        self._question = Question(self._reaches, prompt_chars, pictures)
        self._monotonic, self._wall_ns = monotonic, wall_ns
        self._notebook: deque[NotebookEntry] = deque(maxlen=_REMEMBERED)
        self._new: list[NotebookEntry] = []
        self._spent = {"prompt_tokens": 0.0, "answer_tokens": 0.0, "requests": 0.0, "seconds": 0.0}
        self._counted, self._not_before_s = True, -math.inf

    def ingest(self, card: EpisodeCard) -> None:
        self._question.ingest(card)

    def suggest(self, n: int) -> list[Proposal]:
        if n <= 0 or not self._reaches or not self._may_ask():
            return []
        system, user, pictures = SYSTEM, self._question.text(n, tuple(self._notebook)), self._question.pictures()
        began_s = self._monotonic()
        try:
            answer = self._endpoint.ask(system, user, answer_schema(n, MOST_HYPOTHESES), pictures)
        except EndpointFailed as error:
            self._not_before_s = self._monotonic() + (error.after_s or 0.0)
            self._spend(None, system + user, "", error.asked, began_s)
            self._write("trouble", str(error))
            return []
        self._spend(answer, system + user, answer.text, answer.requests, began_s)
        if answer.refusal:
            self._write("trouble", f"the model refused: {answer.refusal}")
            return []
        read = read_answer(answer.text, n, is_cut=answer.is_cut)
        for line in read.lines:
            self._write("trouble", line)
        for each in read.hypotheses:
            self._write("hypothesis", each)
        for plan in read.plans:
            if plan.prediction:
                self._write("prediction", f"{_said(plan)}: {plan.prediction}", {"gain": plan.gain})
        return [self._proposal(plan) for plan in read.plans]

    def report(self) -> dict[str, Any]:
        """`tokens` in all, as the endpoint counted them, or, where it did not, by four bytes each (`estimated`)."""
        return {
            "cards": self._question.cards,
            "model": self._endpoint.model,
            "form": self._endpoint.form,
            "tokens": self._tokens,
            "estimated": not self._counted,
            **self._spent,
        }

    def remember(self, entries: Sequence[NotebookEntry]) -> None:
        for each in entries:
            self._notebook.append(each)
            if each.kind == "spent":
                for name in self._spent:
                    self._spent[name] += each.numbers.get(name, 0.0)

    def learn(self, outcome: ProposalFate) -> None:
        proposal = outcome.proposal
        said = f"{proposal.plan} {json.dumps(dict(proposal.parameters))}: {outcome.became}"
        said += f", {outcome.why}" if outcome.why else ""
        self._write("outcome", said, {"expected": proposal.gain, "got": outcome.got}, proposal.id)

    def written(self) -> list[NotebookEntry]:
        new, self._new = self._new, []
        return new

    @property
    def _tokens(self) -> float:
        return self._spent["prompt_tokens"] + self._spent["answer_tokens"]

    def _may_ask(self) -> bool:
        if self._tokens >= self._most_tokens:
            if not any("tokens are spent" in each.text for each in self._notebook):
                self._write("trouble", f"all {self._most_tokens} tokens are spent; `tokens` allows more")
            return False
        return self._monotonic() >= self._not_before_s

    def _spend(self, answer: ChatAnswer | None, asked: str, text: str, requests: int, began_s: float) -> None:
        prompt = answer.prompt_tokens if answer is not None else 0
        told = answer.answer_tokens if answer is not None else 0
        self._counted = self._counted and prompt is not None and told is not None
        spent = {
            "prompt_tokens": float(len(asked.encode()) // 4 if prompt is None else prompt),
            "answer_tokens": float(len(text.encode()) // 4 if told is None else told),
            "requests": float(requests),
            "seconds": round(self._monotonic() - began_s, 3),
        }
        for name, value in spent.items():
            self._spent[name] += value
        self._write("spent", self._endpoint.form, spent)

    def _write(self, kind: NoteKind, text: str, numbers: dict[str, float] | None = None, proposal: str = "") -> None:
        entry = NotebookEntry(
            planner=NAME,
            kind=kind,
            text=quoted(text, 400),
            proposal=proposal,
            numbers=numbers or {},
            written_ns=self._wall_ns(),
        )
        self._notebook.append(entry)
        self._new.append(entry)

    def _proposal(self, plan: ProposedPlan) -> Proposal:
        seconds, n_bytes = self._question.cost(plan.device, plan.plan, plan.parameters)
        return Proposal(
            plan=plan.plan,
            planner=NAME,
            parameters=plan.parameters,
            device=plan.device,
            gain=plan.gain,
            cost_s=seconds,
            cost_bytes=n_bytes,
            rationale=quoted(plan.rationale, 400),
        )


def _said(plan: ProposedPlan) -> str:
    return f"{plan.plan} {json.dumps(plan.parameters)}"
