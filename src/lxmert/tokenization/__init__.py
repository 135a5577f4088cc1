"""Words to ids and back: the WordPiece tokenizer of LXMERT, the same words as BERT's (paper section 3.1)."""

from lxmert.tokenization.tokenizer import LxmertTokenizer, LxmertTokenizerFast

__all__ = ["LxmertTokenizer", "LxmertTokenizerFast"]
