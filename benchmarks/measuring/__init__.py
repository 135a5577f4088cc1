"""Shared parts of the benchmarks: the machine's limit, operation counts, alternating timing, and results."""

import os

# Number of prepared products that oneDNN caches. With the default of 1,024, several models in one process,
# each with products of a hundred shapes, evict each other's, and timings would include preparing them again.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16384")
