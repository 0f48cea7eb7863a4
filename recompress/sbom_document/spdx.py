"""The SPDX document of a twin, made of its source's: SPDX 2.2 and 2.3 in JSON.

The twin becomes a package of its own, and what the document describes. What was said of the source's package
(relationships in both directions, files, annotations) is said of the twin's. The source's package stays: the
twin is GENERATED_FROM it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from recompress.errors import Unsupported
from recompress.reference import Digest
from recompress.sbom_document import purl
from recompress.sbom_document.image import (
    TOOL,
    VERSION,
    Pair,
    Subject,
    digests_in,
    digests_of_hashes,
    digests_of_purls,
    fields,
    identifier,
    items,
    objects,
    refuse_another,
    timestamp,
    unused,
)

VERSIONS = ("SPDX-2.2", "SPDX-2.3")
DOCUMENT = "SPDXRef-DOCUMENT"

_KONFLUX_ROLE = "konflux:container:is_"
"""How Konflux marks the package of the base image (`…is_base_image`) or of a builder: no twin is either."""


def derive(document: dict[str, Any], sbom: Digest, pair: Pair) -> int:
    """Make the document, whose digest is `sbom`, that of the twin.

    Returns how many packages it lists beside the image. Raises Unsupported where it does not describe the
    source.
    """
    taken = _identifiers(document)
    source = _described(document, pair.source)
    packages = objects(document, "packages")
    twin = _package(source, unused(_identifier_of(pair.twin), taken), document["spdxVersion"], pair)
    _hand_over(document, source["SPDXID"], twin["SPDXID"])
    document["packages"] = [twin, *packages]
    document["name"] = str(pair.twin)
    document["documentNamespace"] = namespace(identifier(sbom, pair.twin.digest))
    document["creationInfo"] = _creation(fields(document, "creationInfo"), pair)
    return len(packages) - 1


def namespace(uuid: object) -> str:
    """A documentNamespace, in the form for creators without a place for documents (SPDX 2.3, 6.5)."""
    return f"https://spdx.org/spdxdocs/{TOOL}-{uuid}"


def drop_creator(document: dict[str, Any]) -> None:
    """Take this tool, in any version, out of the creators, to compare what two versions made."""
    information = fields(document, "creationInfo")
    if "creators" in information:
        own = f"Tool: {TOOL}-"
        creators = items(information, "creators")
        information["creators"] = [c for c in creators if not str(c).startswith(own)]


def creator() -> str:
    """This tool, as a creator."""
    return f"Tool: {TOOL}-{VERSION}"


def purl_reference(locator: str, version: str = "SPDX-2.3") -> dict[str, str]:
    """An external reference for a purl; SPDX 2.2 spells its category in another way."""
    category = "PACKAGE_MANAGER" if version == "SPDX-2.2" else "PACKAGE-MANAGER"
    return {"referenceCategory": category, "referenceType": "purl", "referenceLocator": locator}


def checksum(image: Digest) -> dict[str, str]:
    """The SHA256 checksum of an image's manifest."""
    return {"algorithm": "SHA256", "checksumValue": image.hex}


def relationship(element: str, kind: str, related: str) -> dict[str, str]:
    """A relationship between two elements."""
    return {"spdxElementId": element, "relationshipType": kind, "relatedSpdxElement": related}


def _identifier_of(image: Subject) -> str:
    return (
        f"SPDXRef-image-{re.sub(r'[^A-Za-z0-9.-]', '-', purl.name_in(image.repository))}-{image.digest.hex}"
    )


def _identifiers(document: dict[str, Any]) -> set[str]:
    found = {DOCUMENT}
    for key in ("packages", "files", "snippets"):
        for element in objects(document, key):
            name = element.get("SPDXID")
            if not isinstance(name, str):
                raise Unsupported(f"its SBOM has an element without an SPDXID in {key!r}")
            if name in found:
                raise Unsupported(f"its SBOM has the SPDXID {name!r:.200} twice")
            found.add(name)
    return found


def _described(document: dict[str, Any], source: Subject) -> dict[str, Any]:
    """The package of the source among those that the document describes."""
    found = objects(document, "packages")
    # A document with a single package need not say that it describes it (SPDX 2.3, 11.1).
    if (named := set(_named(document))) or len(found) > 1:
        found = [each for each in found if each["SPDXID"] in named]
    fitting = [each for each in found if source.digest in set(_digests(each))]
    if len(fitting) == 1:
        found = fitting
    if len(found) != 1:
        raise Unsupported(
            f"its SBOM describes {len(found)} packages, where exactly one has to be the image {source.digest}"
        )
    refuse_another(_digests(found[0]), source)
    return found[0]


def _named(document: dict[str, Any]) -> Iterator[str]:
    yield from (name for name in items(document, "documentDescribes") if isinstance(name, str))
    for each in objects(document, "relationships"):
        ends = [each.get("spdxElementId"), each.get("relatedSpdxElement")]
        match each.get("relationshipType"), ends:
            case ("DESCRIBES", ["SPDXRef-DOCUMENT", str(name)]) | (
                "DESCRIBED_BY",
                [str(name), "SPDXRef-DOCUMENT"],
            ):
                yield name


def _digests(package: dict[str, Any]) -> Iterator[Digest]:
    yield from digests_of_hashes(objects(package, "checksums"), "algorithm", "checksumValue")
    yield from digests_in((package.get("name"), package.get("versionInfo")))
    yield from digests_of_purls(ref.get("referenceLocator") for ref in _purl_references(package))


def _purl_references(package: dict[str, Any]) -> list[dict[str, Any]]:
    refs = objects(package, "externalRefs")
    return list(filter(_is_purl, refs))


def _is_purl(reference: dict[str, Any]) -> bool:
    return str(reference.get("referenceType")).rpartition("/")[2] == "purl"


def _package(source: dict[str, Any], name: str, version: str, pair: Pair) -> dict[str, Any]:
    """The package of the twin: the source's with another digest. It takes over files and annotations."""
    twin = {**source, "SPDXID": name, "checksums": [checksum(pair.twin.digest)]}
    twin.setdefault("versionInfo", str(pair.twin.digest))
    for key in ("name", "versionInfo", "packageFileName", "downloadLocation"):
        if isinstance(text := twin.get(key), str):
            twin[key] = pair.renamed(text)
    twin["externalRefs"] = [_moved(ref, pair) for ref in objects(source, "externalRefs")]
    if pair.twin.digest not in digests_of_purls(
        ref.get("referenceLocator") for ref in _purl_references(twin)
    ):
        twin["externalRefs"].insert(0, purl_reference(pair.twin.purl, version))
    if not list(_digests(source)):
        source["checksums"] = [*objects(source, "checksums"), checksum(pair.source.digest)]
    source.pop("hasFiles", None)
    _part(source, twin, "annotations")
    return twin


def _moved(reference: dict[str, Any], pair: Pair) -> dict[str, Any]:
    locator = reference.get("referenceLocator")
    if not isinstance(locator, str) or not _is_purl(reference):
        return reference
    return {**reference, "referenceLocator": pair.purl(locator)}


def _part(source: dict[str, Any], twin: dict[str, Any], key: str) -> None:
    """Leave the source the annotations that tell its role in Konflux, and the twin all others."""
    annotations = objects(source, key)
    for package, of_source in ((source, True), (twin, False)):
        package[key] = [each for each in annotations if _is_role(each) is of_source]
        if not package[key]:
            del package[key]


def _is_role(annotation: dict[str, Any]) -> bool:
    return _KONFLUX_ROLE in str(annotation.get("comment"))


def _hand_over(document: dict[str, Any], source: str, twin: str) -> None:
    """Say of the twin what the document says of the source, and that it was made of it."""
    relationships = objects(document, "relationships")
    for each in relationships:
        _redirect(each, ("spdxElementId", "relatedSpdxElement"), source, twin)
    for each in objects(document, "annotations"):
        if not _is_role(each):
            _redirect(each, ("spdxElementId", "SPDXREF"), source, twin)
    if "documentDescribes" in document:
        described = items(document, "documentDescribes")
        document["documentDescribes"] = [twin if name == source else name for name in described]
    made = [relationship(twin, "GENERATED_FROM", source)]
    if twin not in _named(document):
        made.append(relationship(DOCUMENT, "DESCRIBES", twin))
    document["relationships"] = [*relationships, *made]


def _redirect(element: dict[str, Any], keys: tuple[str, ...], source: str, twin: str) -> None:
    for key in keys:
        if element.get(key) == source:
            element[key] = twin


def _creation(information: dict[str, Any], pair: Pair) -> dict[str, Any]:
    creators = items(information, "creators")
    if creator() not in creators:
        creators = [*creators, creator()]
    return {**information, "created": timestamp(pair.now), "creators": creators}
