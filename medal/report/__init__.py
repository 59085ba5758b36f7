"""The report of a run: figures, tables, gallery and provenance in one HTML file."""

from medal.report.collect import collect as collect
from medal.report.history import RunHistory as RunHistory
from medal.report.history import StudyHistory as StudyHistory
from medal.report.html import write_report as write_report
