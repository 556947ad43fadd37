"""What `sensorium.sim` has beside its modules, for type checkers; see `sensorium/__init__.py`."""

from sensorium.sim.gym.recorded import record as record
