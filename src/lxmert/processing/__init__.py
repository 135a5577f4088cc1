"""`LxmertProcessor`: pictures and text to the input batch of every LXMERT model."""

from lxmert.processing.processor import LxmertProcessor

__all__ = ["LxmertProcessor"]
