"""Records on disk and how they become batches: readers of official files, answer vocabularies, collation."""
