"""An OpenAI-compatible chat endpoint: one question, one answer, within bounds of time, bytes and tries.

Of what such servers offer, this asks for the least: `POST URL/chat/completions`. It reads the answer piece by piece,
in a thread that is left behind in time, so that neither a slow nor an endless one goes past its bounds, which clients
that read whole answers cannot promise.
"""

import email.utils
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import httpx2
import msgspec
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_any,
    wait_random_exponential,
)

from sensorium.errors import SensoriumError
from sensorium.patience import within

JsonMode = Literal["schema", "object-schema", "object", "none"]
JSON_MODES: tuple[JsonMode, ...] = ("schema", "object-schema", "object", "none")
"""How JSON is asked for: by a schema as OpenAI, vLLM and llama.cpp have it, as llama-cpp-python has it, without one,
or by words alone. An endpoint that refuses one is asked in the next."""

_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_UNLIKED = frozenset({400, 413, 415, 422, 501})
_SHOWN = 200
_MOST_COUNTED = 10**9


class EndpointFailed(SensoriumError):
    """An endpoint gave no answer: what it did instead. `after_s`: how long it wants to be left alone, if it said so."""

    def __init__(self, why: str, after_s: float | None = None, asked: int = 1) -> None:
        super().__init__(why)
        self.after_s, self.asked = after_s, asked


class _Later(EndpointFailed):
    """It may answer when it is asked again."""


class _Unliked(EndpointFailed):
    """It does not take what it was asked, in this form."""


class ChatAnswer(NamedTuple):
    """The model's text, or its `refusal`; tokens as the endpoint counts them, or None; requests that it took."""

    text: str
    is_cut: bool
    refusal: str
    prompt_tokens: int | None
    answer_tokens: int | None
    requests: int


class _Message(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice] = msgspec.field(default_factory=list)
    usage: Any = None


class AskBounds(NamedTuple):
    """Of one question: seconds in all, tries, and bytes of an answer."""

    most_s: float = 60.0
    tries: int = 3
    most_bytes: int = 262_144
    most_tokens: int = 1024


class ChatEndpoint:
    """The model `model` behind `url`, which ends before `/chat/completions`."""

    def __init__(
        self,
        url: str,
        model: str,
        *,
        key: str = "",
        bounds: AskBounds | None = None,
        modes: Sequence[JsonMode] = JSON_MODES,
        seed: int = 0,
        temperature: float = 0.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url, self.model = f"{url.rstrip('/')}/chat/completions", model
        self._seed, self._temperature = seed, temperature
        self._headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._bounds = bounds or AskBounds()
        self._forms = [(mode, pictures) for pictures in (True, False) for mode in modes]
        self._sleep = sleep

    @property
    def form(self) -> str:
        """How it is asked now: which mode of JSON, and whether with pictures."""
        mode, pictures = self._forms[0]
        return f"{mode}, {'with' if pictures else 'without'} pictures"

    def ask(self, system: str, user: str, schema: dict[str, Any], pictures: Sequence[str] = ()) -> ChatAnswer:
        """One answer; `pictures` are `data:` URLs.

        Raises:
            EndpointFailed: there was none within the bounds.
        """
        self._seed += 1  # or one that is asked the same says the same, for ever
        end_s, asked, forms = time.monotonic() + self._bounds.most_s, 0, self._forms

        def once() -> ChatAnswer:
            nonlocal asked
            while True:
                asked += 1
                try:
                    return self._once(self._request(system, user, schema, pictures), end_s)
                except _Unliked:
                    if not self._next_form(bool(pictures)):
                        raise

        try:
            answer: ChatAnswer = self._retrying(end_s)(once)
            return answer._replace(requests=asked)
        except EndpointFailed as error:
            self._forms = forms if isinstance(error, _Unliked) else self._forms  # so it was not the form
            raise EndpointFailed(str(error), error.after_s, asked) from error

    def _next_form(self, with_pictures: bool) -> bool:
        """Give up the form that was refused, unless it is the last."""
        left = [form for form in self._forms[1:] if with_pictures or form[1] == self._forms[0][1]]
        if not left:
            return False
        self._forms = left
        return True

    def _retrying(self, end_s: float) -> Retrying:
        backoff = wait_random_exponential(multiplier=0.5, max=8)

        def wait_s(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome is not None else None
            asked_s = error.after_s if isinstance(error, EndpointFailed) else None
            return backoff(state) if asked_s is None else asked_s

        def is_over(state: RetryCallState) -> bool:
            return time.monotonic() + float(state.upcoming_sleep) >= end_s

        return Retrying(
            retry=retry_if_exception_type(_Later),
            wait=wait_s,
            stop=stop_any(stop_after_attempt(self._bounds.tries), is_over),
            sleep=self._sleep,
            reraise=True,
        )

    def _request(self, system: str, user: str, schema: dict[str, Any], pictures: Sequence[str]) -> dict[str, Any]:
        mode, takes_pictures = self._forms[0]
        shown = [{"type": "image_url", "image_url": {"url": url, "detail": "low"}} for url in pictures]
        content = [{"type": "text", "text": user}, *shown] if shown and takes_pictures else user
        formats: dict[JsonMode, dict[str, Any] | None] = {
            "schema": {"type": "json_schema", "json_schema": {"name": "proposals", "schema": schema}},
            "object-schema": {"type": "json_object", "schema": schema},
            "object": {"type": "json_object"},
            "none": None,
        }
        return {
            "model": self.model,
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": content}],
            "max_tokens": self._bounds.most_tokens,
            "temperature": self._temperature,
            "seed": self._seed,
            **({"response_format": formats[mode]} if formats[mode] else {}),
        }

    def _once(self, request: dict[str, Any], end_s: float) -> ChatAnswer:
        left_s = end_s - time.monotonic()
        late = EndpointFailed(f"{self._url}: no answer within {self._bounds.most_s:g} s")
        if left_s <= 0:
            raise late
        try:  # each read is bounded by a time-out, but a reply, or what comes before it, may trickle for ever
            status, after, body = within(left_s, lambda: self._sent(request, left_s))
        except TimeoutError:
            raise late from None
        if status != httpx2.codes.OK:
            said = ascii(body[:_SHOWN].decode(errors="replace"))
            why = f"{self._url}: HTTP {status}: {said}"
            if status in _UNLIKED or b"response_format" in body:  # of which some say that with a 500
                raise _Unliked(why)
            if status in _AGAIN:
                raise _Later(why, _asked_s(after))
            raise EndpointFailed(why)
        return self._read(body)

    def _sent(self, request: dict[str, Any], left_s: float) -> tuple[int, str | None, bytes]:
        """Status, `Retry-After` and body of what came."""
        tls = self._url.startswith("https:")  # or a context is made for nothing, which takes longer than asking
        timeout = httpx2.Timeout(left_s, connect=min(left_s, 10.0))
        try:
            with (
                httpx2.Client(headers=self._headers, follow_redirects=False, trust_env=False, verify=tls) as client,
                client.stream("POST", self._url, json=request, timeout=timeout) as response,
            ):
                return response.status_code, response.headers.get("retry-after"), self._body(response)
        except httpx2.TimeoutException as error:
            raise EndpointFailed(f"{self._url}: no answer within {self._bounds.most_s:g} s") from error
        except httpx2.HTTPError as error:
            raise _Later(f"{self._url}: {type(error).__name__}: {error or 'no reason given'}") from error
        except httpx2.InvalidURL as error:
            raise EndpointFailed(f"{self._url}: {error}") from error

    def _body(self, response: httpx2.Response) -> bytes:
        found = bytearray()
        for piece in response.iter_raw():  # as it came: nothing unpacks to more than was counted
            found += piece
            if len(found) > self._bounds.most_bytes:
                raise EndpointFailed(f"{self._url}: an answer of more than {self._bounds.most_bytes} bytes, given up")
        return bytes(found)

    def _read(self, body: bytes) -> ChatAnswer:
        try:
            said = msgspec.json.decode(body, type=_Completion)
            choice = said.choices[0]
        except (msgspec.DecodeError, IndexError, UnicodeDecodeError) as error:
            shown = ascii(body[:_SHOWN].decode(errors="replace"))
            raise _Later(f"{self._url}: is no chat completion: {error}: {shown}") from error
        refused = choice.message.refusal or ("content filter" if choice.finish_reason == "content_filter" else "")
        return ChatAnswer(
            text=choice.message.content or "",
            is_cut=choice.finish_reason == "length",
            refusal=refused,
            prompt_tokens=_counted(said.usage, "prompt_tokens"),
            answer_tokens=_counted(said.usage, "completion_tokens"),
            requests=1,
        )


def _counted(usage: object, name: str) -> int | None:
    """So many tokens, as an endpoint says; None of what can be no count, which would give back what was spent.

    >>> _counted({"prompt_tokens": 7}, "prompt_tokens"), _counted({"prompt_tokens": -7}, "prompt_tokens")
    (7, None)
    """
    said = usage.get(name) if isinstance(usage, dict) else None
    return said if isinstance(said, int) and not isinstance(said, bool) and 0 <= said <= _MOST_COUNTED else None


def _asked_s(said: str | None) -> float | None:
    """Seconds in a `Retry-After`: a number, or a date (RFC 9110, 10.2.3).

    >>> _asked_s("7"), _asked_s("soon"), _asked_s("Wed, 21 Oct 2015 07:28:00 GMT")
    (7.0, None, 0.0)
    >>> _asked_s("Fri, 31 Dec 99999999999999999999 23:59:59 GMT")
    """
    if said is None:
        return None
    if said.strip().isdecimal():
        return float(said.strip()[:9])
    try:
        return max(email.utils.parsedate_to_datetime(said).timestamp() - time.time(), 0.0)
    except (ValueError, OverflowError):  # of a year that there is not
        return None
