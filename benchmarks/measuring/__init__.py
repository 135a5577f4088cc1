"""What the benchmarks share: the machine's limit, work counted, sides in turns, results written."""
