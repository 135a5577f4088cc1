"""A summary of a store, from its manifest and index alone."""

from typing import Any

from lxmert.data.feature_store.layout import FORMAT_VERSION, LABELS
from lxmert.data.feature_store.reader import FeatureStore
from lxmert.data.feature_store.skipped import SkippedList


def summarise(store: FeatureStore) -> dict[str, Any]:
    """Summarise a store, ready for JSON; no feature is read.

    Returns:
        images, objects, objects_per_image [fewest, most], feature_dim, feature_dtype, extractor, boxes (found
        or given, if known), labels (how many images have each kind), object_names and attribute_names (how
        many are known), parts, megabytes, skipped (images the newest run could not use), format_version.
    """
    manifest, counts, flags = store.manifest, store.object_counts(), store.flags()
    files = (path for path in store.path.iterdir() if path.is_file())
    return {
        "images": len(store),
        "objects": int(counts.sum()),
        "objects_per_image": [int(counts.min()), int(counts.max())] if len(counts) else None,
        "feature_dim": manifest.feature_dim,
        "feature_dtype": manifest.feature_dtype,
        "extractor": manifest.extractor,
        "boxes": manifest.boxes,
        "labels": {name: int(((flags & flag) != 0).sum()) for name, (flag, _) in LABELS.items()},
        "object_names": len(manifest.object_names or ()),
        "attribute_names": len(manifest.attribute_names or ()),
        "parts": len(store.parts()),
        "megabytes": round(sum(path.stat().st_size for path in files) / 1e6, 3),
        "skipped": len(SkippedList.read(store.path)),
        "format_version": FORMAT_VERSION,
    }
