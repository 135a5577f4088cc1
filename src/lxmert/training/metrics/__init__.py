"""The official evaluators' metrics, one file per data set."""
