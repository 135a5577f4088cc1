"""`LxmertProcessor`: pictures and words -> the batch that every LXMERT model takes as it is."""

from lxmert.processing.processor import LxmertProcessor

__all__ = ["LxmertProcessor"]
