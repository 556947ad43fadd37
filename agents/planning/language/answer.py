"""What a model is to answer, checked: proposals and hypotheses as JSON, of which only what is whole counts."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import from_json

from sensorium.drivers.controls import PlanKind

MOST_TEXT = 500
MOST_PARAMETERS = 16
_PLANS = get_args(PlanKind)
_WHOLE = {"name": {"type": "string", "maxLength": 100}, "seconds": {"type": "number", "minimum": 0}}
"""What `mission` and `duration` take; all else is by control."""
_Text = Annotated[str, StringConstraints(max_length=MOST_TEXT)]
_Name = Annotated[str, StringConstraints(max_length=100)]
_Number = Annotated[float, Field(allow_inf_nan=False)]


class ProposedPlan(BaseModel):
    """One plan as a model writes it; its costs are its planner's to say."""

    model_config = ConfigDict(frozen=True)

    plan: PlanKind
    parameters: dict[_Name, _Number | _Name] = Field(default={}, max_length=MOST_PARAMETERS)
    device: _Name = ""
    gain: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    prediction: _Text = ""
    rationale: _Text = ""


class ReadAnswer(NamedTuple):
    """What of an answer can be used, the best first, and a line for all that cannot."""

    plans: tuple[ProposedPlan, ...] = ()
    hypotheses: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()


def answer_schema(n: int, most_hypotheses: int) -> dict[str, Any]:
    """The JSON schema of an answer with up to `n` proposals, of what all endpoints' schema modes understand."""
    text = {"type": "string", "maxLength": MOST_TEXT}
    plan = {
        "plan": {"type": "string", "enum": list(_PLANS)},
        "device": {"type": "string", "maxLength": 100},
        "parameters": {
            "type": "object",
            "properties": _WHOLE,
            "additionalProperties": {"type": ["number", "string"]},
        },
        "gain": {"type": "number", "minimum": 0},
        "prediction": text,
        "rationale": text,
    }
    proposal = {"type": "object", "properties": plan, "required": ["plan", "parameters", "gain"]}
    return {
        "type": "object",
        "properties": {
            "proposals": {"type": "array", "maxItems": n, "items": proposal},
            "hypotheses": {"type": "array", "maxItems": most_hypotheses, "items": text},
        },
        "required": ["proposals"],
    }


def read_answer(text: str, n: int, *, is_cut: bool = False) -> ReadAnswer:
    """What a model's text proposes, up to `n`. Of one that ends in the middle (`is_cut`, or as it turns out) the
    proposal at the end does not count.

    >>> read_answer('```json\\n{"proposals": [{"plan": "stop", "sure": true}]}\\n```', 1).plans[0].plan
    'stop'
    >>> read_answer('{"proposals": [{"plan": "stop", "sure": true}]}', 1).lines
    ("proposal 1: unknown 'sure' left out",)
    """
    found, why = _document(text)
    if found is None:
        return ReadAnswer(lines=(f"answer: expected a JSON object, got {_quoted(text)}: {why}",))
    lines = [f"answer: ends in the middle ({why})"] if why else ["answer: cut off"] if is_cut else []
    proposals, hypotheses = found.pop("proposals", []), found.pop("hypotheses", [])
    if found:
        lines.append(f"answer: unknown {_names(found)} left out")
    if not isinstance(proposals, list):
        lines.append(f"answer: proposals: expected a list, got {_quoted(proposals)}")
        proposals = []
    if why and proposals and not hypotheses:
        lines.append(f"proposal {len(proposals)}: left out, the answer ends in it")
        proposals = proposals[:-1]
    if len(proposals) > n:
        lines.append(f"answer: {len(proposals)} proposals, of which the first {n} count")
    plans = []
    for number, each in enumerate(proposals[:n], 1):
        plan, told = _plan(each)
        lines += [f"proposal {number}: {line}" for line in told]
        plans += [plan] if plan is not None else []
    said = [each[:MOST_TEXT] for each in hypotheses if isinstance(each, str)] if isinstance(hypotheses, list) else []
    return ReadAnswer(tuple(plans), tuple(said[: max(n, 3)]), tuple(lines))


def _document(text: str) -> tuple[dict[str, Any] | None, str]:
    """The object in a text, which may stand among words or in a fence; and why it is not whole, if it is not."""
    start = text.find("{")
    if start < 0:
        return None, "no object in it"
    try:
        found, _ = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError) as error:
        why = error.msg if isinstance(error, json.JSONDecodeError) else type(error).__name__
    else:
        return found, ""
    try:
        found = from_json(text[start:].encode(errors="replace"), allow_partial=True)
    except ValueError as error:
        return None, str(error)
    return (found, why) if isinstance(found, dict) else (None, why)


def _plan(said: object) -> tuple[ProposedPlan | None, Sequence[str]]:
    """A plan, or None; and what of it does not count."""
    if not isinstance(said, Mapping):
        return None, [f"expected an object, got {_quoted(said)}"]
    known = ProposedPlan.model_fields
    unknown = [name for name in said if name not in known]
    lines = [f"unknown {_names(unknown)} left out"] if unknown else []
    try:
        return ProposedPlan.model_validate({name: said[name] for name in known if name in said}, strict=True), lines
    except ValidationError as error:
        wrong = (f"{'.'.join(map(str, each['loc']))[:100]}: {each['msg']}" for each in error.errors()[:3])
        return None, [*lines, f"left out: {'; '.join(wrong)}"]


def _names(names: Any) -> str:
    return ", ".join(_quoted(name, 40) for name in list(names)[:8])


def _quoted(said: object, most: int = 80) -> str:
    """Somebody's text in a line of ours: short, and as a literal, so that it ends no line.

    >>> _quoted("a\\nERROR")
    "'a\\\\nERROR'"
    """
    text = said if isinstance(said, str) else json.dumps(said, default=str)
    text = re.sub(r"\s+$", "", text)
    return ascii(text if len(text) <= most else f"{text[:most]}...")
