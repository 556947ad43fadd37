"""The same code: what acts and judges in a campaign is what it was when that was begun, or the campaign is another."""

from sensorium.corpus.verifier import verifier_within
from sensorium.errors import ConfigError
from sensorium.patience import IMPORT_S
from sensorium.sim.rollouts.plan import Campaign
from sensorium.sim.rollouts.policies import code_within
from sensorium.sim.rollouts.task_file import TaskFile

REFUSED = "give the campaign another name, or put back what it had"


def check_verifiers(task_file: TaskFile, known: Campaign | None) -> None:
    """Raise `ConfigError` where a verifier is not there, two say what they say under one name, or groups were closed
    by other code of the same one."""
    made, codes = [], []
    for name in verifiers_of(task_file):
        verifier, code = verifier_within(name, task_file.verifier_timeout_s, "verifier_timeout_s")
        made.append(verifier)
        codes.append(code)
    if len({verifier.name for verifier in made}) < len(made):
        raise ConfigError(
            f"campaign {task_file.campaign!r}: its verifier and its hidden one both say that their name is"
            f" {made[0].name!r}, and their verdicts could not be told apart; give one of the classes another `name`"
        )
    if codes and known is not None and known.closed and known.code not in ("", codes[0]):
        raise ConfigError(
            f"campaign {task_file.campaign!r}: its verifier {made[0].name!r} had other code ({known.code}, now"
            f" {codes[0]}) when groups were closed; {REFUSED}"
        )


def verifiers_of(task_file: TaskFile) -> list[str]:
    """The names of the verifier and the hidden one, as far as there are any."""
    if not task_file.verifier:
        return []
    return [task_file.verifier, *([] if task_file.hidden is None else [task_file.hidden.verifier])]


def checked_policies(task_file: TaskFile, known: Campaign | None) -> dict[str, str]:
    """The code of each policy, empty where it has no source; raises `ConfigError` where one has other code than when
    the campaign was begun: what it did would be of two policies, in one number."""
    most_s = max(IMPORT_S, task_file.policy_timeout_s)
    codes = {name: code_within(source, most_s) for name, source in task_file.policies.items()}
    for name, code in codes.items():
        before = "" if known is None else known.policies.get(name, "")
        if before and code != before:
            raise ConfigError(
                f"campaign {task_file.campaign!r}: its policy {name!r} has other code ({code or 'without a source'})"
                f" than when the campaign was begun ({before}); {REFUSED}"
            )
    return codes
