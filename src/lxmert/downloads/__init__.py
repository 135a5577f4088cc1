"""Files from the net: fetched within limits, verified, and cached for offline use."""

from lxmert.downloads.fetching import fetch_bytes
from lxmert.downloads.kept import CACHE_VARIABLE, MIRRORED_SITE, PublishedFile, cache_folder

__all__ = ["CACHE_VARIABLE", "MIRRORED_SITE", "PublishedFile", "cache_folder", "fetch_bytes"]
