"""What a patrol keeps, unit by unit."""

from sensorium.extend import Corrupt, Decision, Purse, SelectionPolicy, Unit, costs_of, draw


class PatrolPolicy:
    """Every decision is final at once. All it knows is what is left to spend, and when it kept something last."""

    waiting: tuple[Decision, ...] = ()

    def __init__(self, every_s: float, policy: SelectionPolicy, spool_id: str, state: bytes | None) -> None:
        self._every_ns = round(every_s * 1e9)
        self._policy, self._spool_id = policy, spool_id
        self._purse = Purse(policy.budget)
        self._boot, self._end_ns, self._due_ns = "", 0, 0
        if state is not None:
            try:
                boot, end, due, *levels = state.decode().split("\n")
                self._boot, self._end_ns, self._due_ns = boot, int(end), int(due)
                rows = [line.split(" ") for line in levels]
                self._purse.take_over({name: (int(level), int(owed)) for name, level, owed in rows})
            except ValueError as error:
                raise Corrupt(f"state of a patrol: {error}") from error

    @property
    def state(self) -> bytes:
        levels = [f"{name} {level} {owed}" for name, (level, owed) in self._purse.levels().items()]
        return "\n".join([self._boot, str(self._end_ns), str(self._due_ns), *levels]).encode()

    def step(self, unit: Unit) -> list[Decision]:
        if unit.boot != self._boot or unit.start_ns < self._end_ns or "selection.left" in unit.scores:  # another time
            self._boot, self._end_ns, self._due_ns = unit.boot, unit.start_ns, unit.start_ns
        self._purse.leave(unit.scores.get("selection.left", 1.0))  # after a kill what was spent is not known
        passed_ns = unit.end_ns - self._end_ns
        self._end_ns = unit.end_ns
        self._purse.earn(unit.length_ns, passed_ns)
        self._purse.book(unit.booked_bytes)
        costs = costs_of(unit.length_ns, unit.estimate_bytes)
        p = 0.0 if unit.gate else self._purse.chance(costs, passed_ns)
        number = draw(self._policy.seed, self._spool_id, unit.boot, unit.start_ns)
        kept, reason = False, "never" if unit.gate else "dull"
        if not unit.gate and unit.start_ns >= self._due_ns:
            kept = self._purse.affords(costs)
            reason = "patrol" if kept else "budget"
            self._due_ns = unit.start_ns + self._every_ns if kept else self._due_ns
        by_chance = not kept and number < p
        if kept or by_chance:
            self._purse.spend(costs, by_chance)
        return [
            Decision(
                start_ns=unit.start_ns, end_ns=unit.end_ns, boot=unit.boot, kept=kept or by_chance,
                reason="floor" if by_chance else reason, by=unit.gate, score=0.0, threshold=0.0, p=p, draw=number,
                drawn=number < p, tie=-1.0, policy=self._policy.version, cost_ns=unit.length_ns,
                cost_bytes=unit.estimate_bytes,
            )
        ]  # fmt: skip

    def finish(self) -> list[Decision]:
        return []
