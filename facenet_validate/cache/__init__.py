"""The content-addressed cache of everything that is expensive to make."""

from facenet_validate.cache.store import Cache, Entry, check_writable

__all__ = ["Cache", "Entry", "check_writable"]
