"""Files from the net: fetched within limits, verified, and cached for offline use."""

from lxmert.downloads.cache import CACHE_VARIABLE, MIRRORED_SITE, PublishedFile, cache_folder
from lxmert.downloads.fetching import fetch_bytes

__all__ = ["CACHE_VARIABLE", "MIRRORED_SITE", "PublishedFile", "cache_folder", "fetch_bytes"]
