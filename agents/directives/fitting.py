"""Fitting: of what was in force on a device, what its file, which may be another by now, still takes."""

from collections.abc import Callable, Mapping, Sequence

from sensorium.agents.device_file import DeviceFile
from sensorium.agents.directives.campaigning import running_now, with_campaigns
from sensorium.agents.directives.settings import standing, with_settings
from sensorium.errors import ConfigError
from sensorium.link.directive import DirectiveDocument

Documents = Sequence[DirectiveDocument]


def fitted(
    device: DeviceFile, settings: Documents, campaigns: Documents, utc_ns: int | None
) -> tuple[DeviceFile, Mapping[str, str]]:
    """A device file under the directives that were obeyed, the earlier first, as far as they fit it; of the others, by
    id, why not."""

    def with_all(documents: Documents) -> DeviceFile:
        return with_settings(device, [each.body for each in documents])

    def with_these(documents: Documents) -> DeviceFile:
        return with_campaigns(under, documents)

    under, unfit = _as_far_as_they_fit(settings, standing, with_all)
    under, others = _as_far_as_they_fit(campaigns, lambda these: [*running_now(these, utc_ns).values()], with_these)
    return under, {**unfit, **others}


def _as_far_as_they_fit(
    documents: Documents, of: Callable[[Documents], Documents], put: Callable[[Documents], DeviceFile]
) -> tuple[DeviceFile, dict[str, str]]:
    """`of` says which of them stand, and `put` has these in force."""
    unfit: dict[str, str] = {}
    for each in documents:  # what another version of this program has obeyed, which this one cannot read
        try:
            of([each])
        except ConfigError as error:
            unfit[each.id] = str(error)
    while True:  # once more where one that does not fit had taken back another
        stand = of([each for each in documents if each.id not in unfit])
        try:
            return put(stand), unfit
        except ConfigError:
            fit: list[DirectiveDocument] = []
        for each in stand:
            try:
                put([*fit, each])
                fit.append(each)
            except ConfigError as error:
                unfit[each.id] = str(error)
