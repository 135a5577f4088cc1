"""Sentences about two made pictures as NLVR2 has them."""

from lxmert.scenes.pairs.choosing import Group, Pair, choose_group
from lxmert.scenes.pairs.statements import Statement

__all__ = ["Group", "Pair", "Statement", "choose_group"]
