"""skopeo's blob info cache: how skopeo learns which zstd:chunked layers there are for a diff_id.

With the right rows in it skopeo does not download and compress a layer, it takes the one that
exists (containers/image, pkg/blobinfocache/sqlite and docker.TryReusingBlobWithOptions). skopeo
makes the database itself, so that its schema is that of the skopeo at hand; a schema other than
the one known here is left alone.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from recompress.errors import RecompressError
from recompress.manifest import Compression, Descriptor, MediaType
from recompress.reference import Digest, Repository
from recompress.reuse import Offer
from recompress.workspace import Workspace

_PLACE = Path("containers/cache/blob-info-cache-v1.sqlite")
_SKOPEO_SECONDS = 30
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "DigestUncompressedPairs": ("anyDigest", "uncompressedDigest"),
    "DigestCompressors": ("digest", "compressor"),
    "DigestSpecificVariantCompressors": (
        "digest",
        "specificVariantCompressor",
        "specificVariantAnnotations",
    ),
    "KnownLocations": ("transport", "scope", "digest", "location", "time"),
}


class UnknownCache(RecompressError):
    """This skopeo keeps its cache in a way that is not known here: reuse is off, nothing else."""


def create(space: Workspace) -> Path:
    """Let skopeo make its cache in a workspace; returns the database.

    Raises UnknownCache where what it made is not what is known here.
    """
    data_home = space.directory
    image = data_home / "empty-image"
    _write_empty_image(image)
    command = [
        "skopeo",
        "copy",
        "--insecure-policy",
        "--quiet",
        f"dir:{image}",
        f"dir:{data_home / 'empty-copy'}",
    ]
    try:
        subprocess.run(
            command, env=dict(space.environment), capture_output=True, timeout=_SKOPEO_SECONDS, check=True
        )
    except (subprocess.SubprocessError, OSError) as error:
        raise UnknownCache(f"skopeo made no cache: {error}") from None
    return opened(space)


def opened(space: Workspace) -> Path:
    """The database that skopeo has made in a workspace.

    Raises UnknownCache where there is none, or it is not what is known here.
    """
    database = space.directory / _PLACE
    if not database.is_file():
        raise UnknownCache(f"skopeo made no {_PLACE.name}")
    try:
        with closing(sqlite3.connect(database)) as connection:
            for table, columns in _COLUMNS.items():
                found = connection.execute("SELECT name FROM pragma_table_info(?)", (table,))
                if tuple(name for (name,) in found) != columns:
                    raise UnknownCache(f"skopeo's cache has an unexpected schema (table {table})")
    except sqlite3.Error as error:
        raise UnknownCache(f"skopeo's cache cannot be read: {error}") from None
    return database


def pushed(database: Path, repository: Repository) -> list[Descriptor]:
    """The zstd:chunked layers that skopeo pushed to a repository without knowing their diff_ids.

    It notes how a layer is compressed and where it is, but not that it holds the same as the layer that it
    was made of: containers/image, copy, recordValidatedDigestData, "we don't know that one". Sizes are not
    noted, they are 0 here. Raises UnknownCache where this cannot be read.
    """
    question = """
        SELECT digest, specificVariantAnnotations FROM DigestSpecificVariantCompressors
        JOIN KnownLocations USING (digest)
        WHERE specificVariantCompressor = ? AND transport = 'docker' AND scope = ? AND location = ?
        AND digest NOT IN (SELECT anyDigest FROM DigestUncompressedPairs)
        """
    where = (str(Compression.ZSTD_CHUNKED), repository.registry, str(repository))
    try:
        with closing(sqlite3.connect(database)) as connection:
            rows = connection.execute(question, where).fetchall()
        return [
            Descriptor(MediaType.OCI_LAYER_ZSTD, Digest.parse(digest), 0, json.loads(annotations))
            for digest, annotations in rows
        ]
    except (sqlite3.Error, ValueError, TypeError) as error:
        raise UnknownCache(f"skopeo's cache cannot be read: {error}") from None


def fill(database: Path, offers: Iterable[tuple[Digest, Offer]]) -> None:
    """Write the rows that make skopeo take each offer for a source layer with the given digest.

    Raises UnknownCache where the rows cannot be written.
    """
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f+00:00")
    try:
        with closing(sqlite3.connect(database)) as connection, connection:
            for source, offer in offers:
                digest = str(offer.layer.digest)
                for known in (str(source), digest):
                    _insert(connection, "DigestUncompressedPairs", known, str(offer.diff_id))
                _insert(connection, "DigestCompressors", digest, str(Compression.ZSTD))
                _insert(
                    connection,
                    "DigestSpecificVariantCompressors",
                    digest,
                    str(Compression.ZSTD_CHUNKED),
                    json.dumps(dict(offer.layer.chunked)).encode(),
                )
                where = (offer.repository.registry, digest, str(offer.repository))
                _insert(connection, "KnownLocations", "docker", *where, now)
    except sqlite3.Error as error:
        raise UnknownCache(f"skopeo's cache cannot be written: {error}") from None


def _insert(connection: sqlite3.Connection, table: str, *values: str | bytes) -> None:
    marks = ", ".join("?" * len(values))
    # The names are those of _COLUMNS, never anything from outside.
    connection.execute(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", values)  # noqa: S608


def _write_empty_image(directory: Path) -> None:
    """The smallest image that skopeo copies, in the `dir:` transport's layout."""
    config = b"{}"
    digest = Digest.of(config)
    directory.mkdir()
    (directory / "version").write_text("Directory Transport Version: 1.1\n")
    (directory / digest.hex).write_bytes(config)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MediaType.OCI_MANIFEST,
        "config": {"mediaType": MediaType.OCI_CONFIG, "digest": str(digest), "size": len(config)},
        "layers": [],
    }
    (directory / "manifest.json").write_text(json.dumps(manifest))
