"""How registries are spoken to: requests, certificates, credentials, tries.

Nothing in here knows what is done with what it reads. The rest of the package uses the names below and no
others (tests/unit/test_walls.py).
"""

from recompress.registry import referrers
from recompress.registry.client import Connection, RepositoryClient
from recompress.registry.credentials import auth_file, auth_files, credentials_for
from recompress.registry.ranges import ByteRange, TwoRanges, TwoRangesAnswer
from recompress.registry.served import Served
from recompress.registry.transport import Tls, retrying, ssl_context

__all__ = [
    "ByteRange",
    "Connection",
    "RepositoryClient",
    "Served",
    "Tls",
    "TwoRanges",
    "TwoRangesAnswer",
    "auth_file",
    "auth_files",
    "credentials_for",
    "referrers",
    "retrying",
    "ssl_context",
]
