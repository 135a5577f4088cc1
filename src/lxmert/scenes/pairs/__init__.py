"""NLVR2-style sentences about two made pictures."""

from lxmert.scenes.pairs.selection import Group, Pair, choose_group
from lxmert.scenes.pairs.statements import Statement

__all__ = ["Group", "Pair", "Statement", "choose_group"]
