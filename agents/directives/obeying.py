"""Obeying: what operators ask of this device is kept, judged by its own rules, done, and answered.

Nothing counts before it is signed by an operator whom the device file names. Expiry is judged by the server's time,
never by this machine's clock; while that is not known only `stop` is obeyed, and the rest waits.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from sensorium.agents.charter import Charter, ObeyPart
from sensorium.agents.device_file import DeviceFile
from sensorium.agents.directives.campaigning import is_to_come, needed, running_now, running_with, stops, with_campaigns
from sensorium.agents.directives.fitting import fitted
from sensorium.agents.directives.kept import KeptDirective, KeptDirectives
from sensorium.agents.directives.rules import Rules
from sensorium.agents.directives.settings import (
    Refused,
    asked_of,
    check_settings,
    plain,
    standing,
    with_settings,
)
from sensorium.drivers.clock import boottime_ns
from sensorium.errors import ConfigError, PeerViolation, SensoriumError
from sensorium.link import wire
from sensorium.link.directive import (
    DIRECTIVE,
    FORMAT,
    MAX_ANSWERS,
    DirectiveAnswer,
    DirectiveDocument,
    DirectiveEvent,
    DirectiveState,
    SignedDirective,
    digest_of,
    document_of,
    heard,
    is_genuine,
)

log = logging.getLogger(__name__)

AGAIN_NS = 3_000_000_000
"""So often an answer is told that the server has not noted."""
MOST_UNKEPT = 256
CAMPAIGNS = "trigger.campaigns"

Doing = Callable[[DirectiveDocument, Charter], str]
"""Does what a directive asks for, or raises why it could not be done; what to say of it."""
Changing = Callable[[DeviceFile, Callable[[str], None]], None]
"""Has the device record by another device file, and says when that is so, or why not."""
Planning = Callable[[DirectiveDocument, bytes, Callable[[DirectiveEvent, str], None]], None]
"""Begins what a plan asks for, in the name of who has this key, and says what came of it."""

Asked = tuple[str, str]
"""By which name, and, of what was not kept, with which digest."""


class Obeying:
    """From any thread.

    Args:
        folder: Where directives are kept.
        device: As its file says.
        rules: Its rules, where others go by the same.
        clock: A probe (device_ns, server_ns, ...) of this boot, if there is one.
        doing: What is done, by kind, at once.
        change: How settings are put in force.
        plan: How plans are carried out, if they are.
    """

    def __init__(
        self,
        folder: Path,
        device: DeviceFile,
        *,
        clock: tuple[int, int] | None,
        doing: Mapping[str, Doing],
        change: Changing,
        plan: Planning | None = None,
        rules: Rules | None = None,
    ) -> None:
        self._device, self._rules = device, rules or Rules(device)
        self._doing, self._change, self._planning = doing, change, plan
        self._guard = threading.RLock()
        self._kept = KeptDirectives(folder)
        self._server_ns = None if clock is None else clock[1] - clock[0]
        """By how much the server's time is ahead of CLOCK_BOOTTIME."""
        self._waiting: dict[str, DirectiveState] = {}
        self._unkept: dict[Asked, DirectiveAnswer] = {}
        self._told: dict[Asked, int] = {}
        self._unsettled = ""
        """The settings that are being put in force: others, which change what comes of them, wait for that."""
        self._wake: Callable[[], None] = lambda: None
        for kept in self._kept.in_order:
            if kept.answer is None:
                self._waiting[kept.document.id] = DirectiveState.WAITS
        for lost in self._kept.lost:
            self._unkept[lost.id, ""] = lost
        self.device = self._in_force()
        self._running = {each.id for each in self._campaigns()}

    def subscribe(self, wake: Callable[[], None]) -> None:
        """Have `wake` called when there is an answer to tell."""
        self._wake = wake

    def take(self, directive: wire.Directive) -> None:
        """A DIRECTIVE came."""
        try:
            name, signed = heard(directive.document)
        except PeerViolation as error:
            self._kept.seldom.say("no directive", f"directive {directive.kind!r}: not obeyed: {error}")
            return
        with self._guard:
            try:
                self._take(name, signed)
            except (Refused, PeerViolation) as error:
                self._answer_unkept(name, signed, DirectiveState.REFUSED, str(error))
                self._kept.seldom.say("refused", f"directive {name}: refused: {error}")
            except OSError as error:  # the server says it again in the next session
                text = f"directive {name} cannot be kept, and is not obeyed: {error}"
                self._kept.seldom.say("not kept", text, logging.ERROR)
        self._wake()

    def probed(self, device_ns: int, server_ns: int) -> None:
        """The server's clock was `server_ns` when CLOCK_BOOTTIME was `device_ns`."""
        with self._guard:
            self._server_ns = server_ns - device_ns
            self._go_with_time()

    def pass_time(self) -> None:
        """To be called once in a while: what begins or ends by the server's time does so without the server, too."""
        with self._guard:
            if self._utc_ns() is not None:
                self._go_with_time()

    def begin(self) -> None:
        """A session is open: every answer is to be told in it."""
        with self._guard:
            self._told.clear()

    def answers(self, now_ns: int) -> list[DirectiveAnswer]:
        """What is to be told now: of what is kept only what is on disk, for a next start may come to another answer."""
        with self._guard:
            found = [kept.answer for kept in self._kept.by_id.values() if not kept.noted]
            due = [
                answer
                for answer in (*found, *self._unkept.values())
                if answer is not None and now_ns >= self._told.get((answer.id, answer.digest), -AGAIN_NS) + AGAIN_NS
            ][:MAX_ANSWERS]
            self._told |= {(answer.id, answer.digest): now_ns for answer in due}
            return [answer for answer in due if answer.digest or self._kept.is_kept(answer.id)]

    def noted(self, names: tuple[str, ...]) -> None:
        """The server has noted what became of these."""
        with self._guard:
            for name in names:
                told = [asked for asked in self._told if asked[0] == name]
                for asked in told:
                    lost = self._unkept.pop(asked, None)
                    del self._told[asked]
                    if lost is not None and not lost.digest:
                        with contextlib.suppress(OSError):
                            self._kept.note_lost(lost)
                if (not told or (name, "") in told) and (kept := self._kept.by_id.get(name)) is not None:
                    with contextlib.suppress(OSError):
                        self._kept.note(kept)
            if (utc_ns := self._utc_ns()) is not None:
                in_force = {each.id for each in self._settings()} | needed(self._kept.done("campaign"), utc_ns)
                with contextlib.suppress(OSError):
                    self._kept.forget(utc_ns, in_force)

    @property
    def owes(self) -> bool:
        """Whether there is an answer that the server has not noted."""
        with self._guard:
            return bool(self._unkept) or any(kept.answer and not kept.noted for kept in self._kept.by_id.values())

    @property
    def version(self) -> int:
        """The latest of settings and campaigns that were obeyed; 0: of none."""
        with self._guard:
            return self._kept.version

    def states(self) -> dict[str, int]:
        """How many of those that are kept stand where: waits, done, refused, expired, failed."""
        with self._guard:
            return self._kept.states()

    # --- within --------------------------------------------------------------------------------------------------

    def go_on(self) -> None:
        """Go on with what waits, in order."""
        with self._guard:
            for kept in self._kept.in_order:
                if self._waiting.get(kept.document.id) is DirectiveState.WAITS:
                    self._judge(kept)

    def _take(self, name: str, signed: SignedDirective) -> None:
        """Keep it, if it is genuine and new, and go on with it."""
        document = document_of(signed)
        operator = self._rules.operators.get(signed.operator)
        if operator is None:
            raise Refused("obey: this device obeys no operator with that key")
        if not is_genuine(signed):
            raise Refused("its signature is not that of its operator")
        if document.device != self._device.device:
            raise Refused(f"it is for device {document.device!r}, this is {self._device.device!r}")
        if "/" in document.id or document.id.startswith(".") or not document.id.isprintable():
            raise Refused("its id cannot be the name of a file")
        if document.id != name:
            raise Refused(f"it is {document.id}, said once more under another name")
        known = self._kept.by_id.get(name)
        if known is not None:
            if known.directive.signed != signed.signed:
                raise Refused("another one has its id")
            known.noted = False  # whoever asks again does not know
            self._told.pop((name, ""), None)
            return
        if document.format != FORMAT:
            raise Refused(f"it has format {document.format}, this version knows {FORMAT}")
        if self._kept.forgotten.has(document):
            why = "it was here, and has ended long ago"
            self._answer_unkept(name, signed, DirectiveState.EXPIRED, why)
            return
        if why := self._kept.no_room(signed.operator, len(self._rules.operators)):
            raise Refused(why)
        kept = self._kept.keep(document, signed)
        self._unkept.pop((name, ""), None)
        self._waiting[name] = DirectiveState.WAITS
        self._judge(kept)

    def _answer_unkept(self, name: str, signed: SignedDirective, state: DirectiveState, why: str) -> None:
        """Answer one that is not kept: the name may be another's, of which this says nothing."""
        asked = name, digest_of(signed)
        if len(self._unkept) < MOST_UNKEPT or asked in self._unkept:
            self._unkept[asked] = DirectiveAnswer.of(name, state, why, asked[1])
            self._told.pop(asked, None)

    def _judge(self, kept: KeptDirective) -> None:
        """Take one that waits as far as it goes."""
        if self._unsettled and kept.document.kind in ("settings", "campaign"):
            return
        document, operator = kept.document, self._rules.operators.get(kept.directive.operator)
        utc_ns = self._utc_ns()
        why = self._rules.against(document, operator)
        if why or operator is None:
            self._end(kept, DirectiveEvent.AGAINST_RULES, why)
        elif utc_ns is not None and utc_ns > document.expires_ns:
            self._end(kept, DirectiveEvent.TOO_LATE, "the server's time is behind its end")
        elif (utc_ns is not None or document.kind == "stop") and not is_to_come(document, utc_ns):
            self._waiting[document.id] = DIRECTIVE.after(self._waiting[document.id], DirectiveEvent.TIMED)
            self._do(kept, operator)

    def _do(self, kept: KeptDirective, operator: ObeyPart) -> None:
        document = kept.document
        try:
            if document.kind == "settings":
                self._set(kept, operator)
                return
            if document.kind == "campaign":
                self._look_for(kept)
                return
            if document.kind == "plan":
                self._plan(kept)
                return
            if document.kind == "stop":  # or nobody would hear of it from a device that has stopped
                self._end(kept, DirectiveEvent.OBEYED, "it seals what is open, delivers and ends")
                self._doing[document.kind](document, self._rules.charter)
                return
            said = self._doing[document.kind](document, self._rules.charter)
        except Refused as error:
            self._end(kept, DirectiveEvent.AGAINST_RULES, str(error))
        except (SensoriumError, OSError) as error:
            self._end(kept, DirectiveEvent.BROKE, str(error))
        except Exception as error:  # it would be met again at each start, by whoever delivers
            log.debug("directive %s: an error that nobody expected", document.id, exc_info=True)
            self._end(kept, DirectiveEvent.BROKE, f"an error that nobody expected: {type(error).__name__}: {error}")
        else:
            self._end(kept, DirectiveEvent.OBEYED, said)

    def _plan(self, kept: KeptDirective) -> None:
        """Have a plan begun; what becomes of that is heard later."""

        def settled(event: DirectiveEvent, why: str) -> None:
            with self._guard:
                self._end(kept, event, why)
            self._wake()

        if self._planning is None:
            raise ConfigError("this device carries out no plans")
        self._planning(kept.document, kept.directive.operator, settled)

    def _set(self, kept: KeptDirective, operator: ObeyPart) -> None:
        """Have settings put in force; what becomes of that is heard later."""
        said = asked_of(kept.document.body)
        former = self._settings()
        if former and former[-1].order > kept.document.order:
            newer = former[-1]
            raise Refused(f"version {newer.version} of settings, which is newer, is in force ({newer.id})")
        before = with_settings(self._device, [each.body for each in former])
        after = with_settings(self._device, [each.body for each in standing([*former, kept.document])])
        check_settings(self._device, before, after, said, operator, self._rules.charter)
        self._put_in_force(with_campaigns(after, self._campaigns()), kept, DirectiveEvent.BROKE)

    def _look_for(self, kept: KeptDirective) -> None:
        """Have a campaign begin, or end; what becomes of that is heard later."""
        waits = [each for each in self._kept.in_order if each.document.id in self._waiting]
        before = [each for each in waits if stops(kept.document, each.document)]
        documents = running_with(kept.document, self._kept.done("campaign"), self._utc_ns(), stops_one=bool(before))
        for each in before:
            self._end(each, DirectiveEvent.AGAINST_RULES, f"{kept.document.id} has stopped it before it began")
        after = with_campaigns(self._with_settings(), documents)
        if kept.document in documents and (why := self._rules.charter.refuses_change({CAMPAIGNS: None}, plain(after))):
            raise Refused(why)
        self._put_in_force(after, kept, DirectiveEvent.AGAINST_RULES)

    def _put_in_force(self, after: DeviceFile, kept: KeptDirective | None, otherwise: DirectiveEvent) -> None:
        """Record by another device file; a directive that asked for it is answered then."""

        def settled(why: str) -> None:
            with self._guard:
                if not why:
                    self.device = after
                if kept is not None:
                    self._end(kept, otherwise if why else DirectiveEvent.OBEYED, why or "in force")
                elif why:
                    log.error("campaigns that are over cannot be ended: %s", why)
                if not why:
                    self._running = {each.id for each in self._campaigns()}
                self._unsettled = ""
                self.go_on()
            self._wake()

        self._unsettled = "the end of campaigns" if kept is None else kept.document.id
        try:
            self._change(after, settled)
        except BaseException:
            self._unsettled = ""
            raise

    def _end(self, kept: KeptDirective, event: DirectiveEvent, why: str) -> None:
        name = kept.document.id
        state = DIRECTIVE.after(self._waiting[name], event)
        answer = DirectiveAnswer.of(name, state, why)
        try:
            self._kept.answer(kept, answer)
        except OSError as error:
            log.error("directive %s: its answer cannot be kept, and is told once it can: %s", name, error)
        del self._waiting[name]
        kind, part = kept.document.kind, self._rules.operators.get(kept.directive.operator)
        level = logging.INFO if (kind, state) == ("sketch", DirectiveState.DONE) else logging.WARNING
        by = "no longer obeyed" if part is None else part.operator  # not who it says it is by
        log.log(level, "directive %s (%s, %s): %s: %s", name, kind, by, state.name.lower(), why)

    def _settings(self) -> list[DirectiveDocument]:
        """Those that are in force, the earlier first."""
        return standing(self._kept.done("settings"))

    def _campaigns(self) -> list[DirectiveDocument]:
        """The directives by which campaigns run now."""
        return list(running_now(self._kept.done("campaign"), self._utc_ns()).values())

    def _go_with_time(self) -> None:
        """Go on with what waits; record without campaigns whose time is over, and with them again if it is not."""
        if self._waiting:
            self.go_on()
        running = self._campaigns()
        if self._unsettled or {each.id for each in running} == self._running:
            return
        try:
            after = with_campaigns(self._with_settings(), running)
        except ConfigError as error:
            log.error("campaigns: %s", error)
            return
        self._put_in_force(after, None, DirectiveEvent.BROKE)

    def _with_settings(self) -> DeviceFile:
        return with_settings(self._device, [each.body for each in self._settings()])

    def _in_force(self) -> DeviceFile:
        """The device file under what was in force before; what does not fit it any more is answered so, and is over."""
        device, unfit = fitted(self._device, self._kept.done("settings"), self._kept.done("campaign"), self._utc_ns())
        for name, why in unfit.items():
            self._waiting[name] = DirectiveState.DONE
            self._end(self._kept.by_id[name], DirectiveEvent.UNFIT, f"does not fit the device file any more: {why}")
        names = [each.id for each in (*self._settings()[-1:], *self._campaigns())]
        if names:
            log.warning("in force beside the device file: settings or campaigns of %s", ", ".join(names))
        return device

    def _utc_ns(self) -> int | None:
        return None if self._server_ns is None else boottime_ns() + self._server_ns
