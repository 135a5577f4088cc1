"""The regions of many images on disk: appended safely, read at disk speed (docs/features.md)."""

from lxmert.data.feature_store.encoding import EncodedImage, StoredArrays, encode_image
from lxmert.data.feature_store.manifest import StoreManifest
from lxmert.data.feature_store.reader import FeatureStore
from lxmert.data.feature_store.verify import StoreReport, verify_store
from lxmert.data.feature_store.writer import FeatureStoreWriter

__all__ = [
    "EncodedImage",
    "FeatureStore",
    "FeatureStoreWriter",
    "StoreManifest",
    "StoreReport",
    "StoredArrays",
    "encode_image",
    "verify_store",
]
