"""Training a Faster R-CNN with attributes on one's own boxes."""
