"""Turn one gzip image manifest into its zstd:chunked twin, in the registry, and prove it."""

__version__ = "0.1.0"
