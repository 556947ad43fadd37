"""Sensors, filters and triggers of one's own, for Sensorium."""
