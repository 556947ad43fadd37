"""A line of the planning log in words, as a terminal shows it."""

from sensorium.agents.planning.log import (
    PlanApproved,
    PlanAsked,
    PlannerAside,
    PlannerSpent,
    PlanningBegan,
    PlanningLine,
    PlanningNote,
    PlanOutcome,
    ProposalRuled,
    tokens_of,
)
from sensorium.episode.plural import many

_SHORT = 13


def line_of(line: PlanningLine) -> str:
    """One line, without its time.

    >>> line_of(PlannerAside(planner="odd", why="suggest raised KeyError"))
    'planner odd is set aside: suggest raised KeyError'
    """
    match line:
        case PlanningBegan():
            return f"planners {', '.join(line.planners)} begin, charter {line.charter}, seed {line.seed}"
        case ProposalRuled():
            said = ", ".join(f"{name} {_number(value)}" for name, value in line.proposal.parameters.items())
            what = f"{line.proposal.device}: {line.proposal.plan} {said}"
            expected = f"{many(f'{line.expected:.3g}', 'new cell')} in {line.proposal.cost_s:.3g} s expected"
            why = line.rule or line.proposal.rationale
            name = line.proposal.id if line.ruling == "waits" else line.proposal.id[:_SHORT]  # to be approved by
            return f"{name} {line.ruling}: {line.proposal.planner}: {what}; {expected}; {why}"
        case PlanAsked():
            return f"{line.proposal[:_SHORT]} asked of {line.device}"
        case PlanApproved():
            return f"{line.proposal[:_SHORT]} approved by {line.by}"
        case PlanOutcome():
            came = f"{many(f'{line.got:.3g}', 'new cell')} of {line.expected:.3g}, {many(line.episodes, 'episode')}"
            came += f", {line.seconds:.3g} s"
            return f"{line.proposal[:_SHORT]} {line.state}: {line.planner}: {came}{'; ' if line.why else ''}{line.why}"
        case PlannerSpent():
            tokens = tokens_of(line.report)
            said = "" if tokens is None else f", {tokens:g} tokens"
            return f"planner {line.planner}: share {line.share:.0%}, got to expected {line.ratio:.2f}{said}"
        case PlannerAside(why=""):
            return f"planner {line.planner} is asked again"
        case PlannerAside():
            return f"planner {line.planner} is set aside: {line.why}"
        case PlanningNote():
            return f"planner {line.planner} notes {line.name}: {line.value}"


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"
