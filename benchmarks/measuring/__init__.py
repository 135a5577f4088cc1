"""What the benchmarks share: the machine's limit, work counted, sides in turns, results written."""

import os

# oneDNN keeps so many products prepared. With its 1,024, several models in one process, each with products of
# a hundred shapes, push out each other's, and all of them would be measured while they prepare them anew.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16384")
