"""Calibration of what a learner says (survey, section 6.1)."""

from medal.calibration.temperature import Temperature as Temperature
from medal.calibration.temperature import Tempered as Tempered
