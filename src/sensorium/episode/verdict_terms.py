"""What a condition may say of verdicts: `verdict('task').passed`, of the newest that a verifier gave an episode."""

from typing import NamedTuple

from sqlglot import exp

TEXT, NUMBER = "text", "number"
FIELDS = {"passed": NUMBER, "score": NUMBER, "explanation": TEXT}
"""What a verdict has beside its components."""
ABOUT = {"version": TEXT, "code": TEXT, "utc": TEXT, "who": TEXT, "failed": TEXT}
"""What is recorded with one."""
EXPECTED = (
    "verdict('NAME') with .passed, .score, .components.NAME, .explanation, .version, .code, .utc, .who or .failed"
)


class VerdictTerm(NamedTuple):
    """A term: the verifier's name, where in its record the value is (as a JSON path), and what it holds."""

    verifier: str
    path: str
    holds: str


def verdict_term(node: exp.Expression) -> VerdictTerm | None:
    """The term that a node is; None where it is none.

    The name of a component is all that follows `.components.`, with dots in it; one that is no plain name stands in
    double quotes.
    """
    names: list[str] = []
    while isinstance(node, exp.Dot):
        if not isinstance(node.expression, exp.Identifier):
            return None
        names.insert(0, node.expression.name)
        node = node.this
    if not isinstance(node, exp.Anonymous) or node.name.lower() != "verdict" or not names:
        return None
    given = node.expressions
    if len(given) != 1 or not isinstance(given[0], exp.Literal) or not given[0].is_string:
        return None
    verifier, first = given[0].name, names[0].lower()
    if first == "components" and len(names) > 1 and not any('"' in name for name in names):
        return VerdictTerm(verifier, f'$.verdict.components."{".".join(names[1:])}"', NUMBER)
    if len(names) > 1:
        return None
    if first in FIELDS:
        return VerdictTerm(verifier, f"$.verdict.{first}", FIELDS[first])
    return VerdictTerm(verifier, f"$.{first}", ABOUT[first]) if first in ABOUT else None
