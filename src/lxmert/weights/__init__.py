"""Checkpoints: load reports, strict loading, conversion of the authors' original files and back."""

from lxmert.weights.convert import convert_original, export_original
from lxmert.weights.report import LoadReport, load_complete, load_report

__all__ = ["LoadReport", "convert_original", "export_original", "load_complete", "load_report"]
