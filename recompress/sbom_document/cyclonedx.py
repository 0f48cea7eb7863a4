"""The CycloneDX document of a twin, made of its source's: CycloneDX 1.4, 1.5 and 1.6 in JSON.

The main component becomes the twin, with the source as its ancestor, and all that refers to the one refers to
the other.
"""

from __future__ import annotations

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
from recompress.sbom_document.values import Number

VERSIONS = ("1.4", "1.5", "1.6")

_SECTIONS = ("dependencies", "compositions", "vulnerabilities", "annotations", "formulation", "declarations")
_REFERENCES = {"ref", "dependsOn", "provides", "assemblies", "dependencies", "subjects", "target"}
"""Where in these sections a component is named by its bom-ref."""


def derive(document: dict[str, Any], sbom: Digest, pair: Pair) -> tuple[int, bool]:
    """Make the document, whose digest is `sbom`, that of the twin.

    Returns how many components it lists beside the image, and whether there was a signature that no longer
    holds. Raises Unsupported where the document is not about the source.
    """
    metadata = fields(document, "metadata")
    main = fields(metadata, "component")
    if not main:
        raise Unsupported("its SBOM has no metadata.component, so it does not say what it is about")
    components = list(_tree(objects(document, "components")))
    listed = [each for each in components if _is_same(each, main)]
    if len(listed) > 1:
        raise Unsupported("its SBOM lists its main component more than once in 'components'")
    for component in (main, *listed):
        refuse_another(_digests(component), pair.source)
    old, new = main.get("bom-ref"), unused(_purl(main, pair), _identifiers(document, main, bool(listed)))
    dropped = [document.pop("signature", None)]
    for component in (main, *listed):
        dropped.append(component.pop("signature", None))
        _become_twin(component, new, pair)
    if old:
        _redirect([document.get(section) for section in _SECTIONS], old, new, dropped)
    document["serialNumber"] = f"urn:uuid:{identifier(sbom, pair.twin.digest)}"
    document["version"] = Number("1")
    metadata["timestamp"] = timestamp(pair.now)
    _add_tool(metadata, document["specVersion"])
    return len(components) - len(listed), any(dropped)


def drop_tool(document: dict[str, Any]) -> None:
    """Take this tool, in any version, out of the tools, to compare what two versions made."""
    metadata = fields(document, "metadata")
    is_list = isinstance(metadata.get("tools"), list)
    parent, key = (metadata, "tools") if is_list else (fields(metadata, "tools"), "components")
    if key in parent:
        parent[key] = [tool for tool in objects(parent, key) if tool.get("name") != TOOL]


def _is_same(component: dict[str, Any], main: dict[str, Any]) -> bool:
    """Whether it is the main component once more: some tools have it in `components`, too."""
    key = "bom-ref" if main.get("bom-ref") else "purl"
    return bool(main.get(key)) and component.get(key) == main[key]


def _tree(components: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Components and services, with all those in them."""
    waiting = [components]
    while waiting:
        for each in waiting.pop():
            yield each
            waiting += [objects(each, key) for key in ("components", "services") if key in each]


def _identifiers(document: dict[str, Any], main: dict[str, Any], is_listed: bool) -> set[str]:
    """The bom-refs of components and services; the main one may be there twice, as itself and in the list."""
    roots = [main] if not is_listed else objects(main, "components")
    found: set[str] = set()
    for component in _tree([*roots, *objects(document, "components"), *objects(document, "services")]):
        name = component.get("bom-ref")
        if name is None:
            continue
        if not isinstance(name, str) or name in found:
            raise Unsupported(f"its SBOM has a bom-ref that is not a string or appears twice: {name!r:.200}")
        found.add(name)
    return found


def _digests(component: dict[str, Any]) -> Iterator[Digest]:
    yield from digests_of_hashes(objects(component, "hashes"), "alg", "content")
    yield from digests_in((component.get("name"), component.get("version")))
    yield from digests_of_purls((component.get("purl"),))


def _purl(component: dict[str, Any], pair: Pair) -> str:
    """The twin's purl: the component's with another digest, or a new one where it has none of an image."""
    old = component.get("purl")
    found = pair.purl(old) if isinstance(old, str) else ""
    return found if purl.digest_of(found) == pair.twin.digest else pair.twin.purl


def _become_twin(component: dict[str, Any], name: str, pair: Pair) -> None:
    """Make the source's component the twin's."""
    ancestor = _ancestor(component, pair.source)
    component |= {"bom-ref": name, "purl": _purl(component, pair), "hashes": [_hash(pair.twin)]}
    for key in ("name", "version"):
        if isinstance(text := component.get(key), str):
            component[key] = pair.renamed(text)
    pedigree = fields(component, "pedigree")
    component["pedigree"] = {**pedigree, "ancestors": [*items(pedigree, "ancestors"), ancestor]}


def _ancestor(component: dict[str, Any], source: Subject) -> dict[str, Any]:
    """The source, as far as it takes to know it: what is in it is in the twin, and stands there."""
    known = ("type", "group", "name", "version", "purl")
    kept: dict[str, Any] = {key: component[key] for key in known if component.get(key) is not None}
    return {"purl": source.purl, **kept, "hashes": [_hash(source)]}


def _hash(image: Subject) -> dict[str, str]:
    return {"alg": "SHA-256", "content": image.digest.hex}


def _redirect(
    parent: dict[str, Any] | list[Any], old: str, new: str, dropped: list[object], refers: bool = False
) -> bool:
    """Name the twin where the source is referred to, and drop the signature of all that this changes.

    `refers` says that strings in a list are references. Returns whether anything was changed.
    """
    changed = False
    places: Any = parent
    for key, item in parent.items() if isinstance(parent, dict) else enumerate(parent):
        here = key in _REFERENCES if isinstance(parent, dict) else refers
        if here and item == old:
            places[key], changed = new, True
        elif isinstance(item, dict | list):
            changed |= _redirect(item, old, new, dropped, here)
    if changed and isinstance(parent, dict):
        dropped.append(parent.pop("signature", None))
    return changed


def _add_tool(metadata: dict[str, Any], version: str) -> None:
    """Tools are a list up to 1.4; later that form is only deprecated."""
    tool = {"name": TOOL, "version": VERSION}
    there = metadata.get("tools")
    if isinstance(there, list) or (there is None and version == "1.4"):
        tools = items(metadata, "tools")
        metadata["tools"] = tools if tool in tools else [*tools, tool]
        return
    parts = fields(metadata, "tools")
    tool = {"type": "application", **tool}
    components = items(parts, "components")
    metadata["tools"] = {**parts, "components": components if tool in components else [*components, tool]}
