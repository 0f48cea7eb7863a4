"""The JSON schemas of docs/: one for each command, and the program's reports are as they say."""

from __future__ import annotations

import json
from dataclasses import replace

import jsonschema
import pytest
import typer

from recompress import cli
from recompress.inspect_report import InspectedImage, InspectReport
from recompress.manifest import MediaType, Platform
from recompress.prune_report import Orphan, PruneReport
from recompress.reference import Digest
from recompress.report import EntryKind, IndexEntry, IndexReport
from recompress.schemas import VERSIONS, Command
from recompress.showing import Report
from tests import schema
from tests.unit.test_report import SOURCE, TWIN_DIGEST, blob, image, report

REPORTS: list[Report] = [
    report("a warning"),
    replace(report(), why_kept="it has no twin"),
    IndexReport(
        SOURCE.with_digest(TWIN_DIGEST),
        (IndexEntry(replace(blob(MediaType.OCI_MANIFEST, 3), platform=None), EntryKind.ARTIFACT),),
        {"IMAGE_URL": "quay.io/org/app:1"},
    ),
    PruneReport(
        SOURCE.repository,
        (SOURCE.repository,),
        (Orphan(f"sha256-{'0' * 64}.oci", Digest.of(b""), TWIN_DIGEST),),
        1,
        False,
    ),
    InspectReport(
        SOURCE.with_digest(TWIN_DIGEST),
        True,
        (
            InspectedImage(
                TWIN_DIGEST,
                MediaType.OCI_MANIFEST,
                Platform("linux", "arm64"),
                (blob(MediaType.OCI_LAYER_GZIP, 5),),
            ),
            InspectedImage(image().digest, MediaType.OCI_MANIFEST, None, (), "artifact"),
        ),
    ),
]
"""Those of `verify` are in test_verifier.py, made by real proofs."""


@pytest.mark.parametrize("shown", REPORTS, ids=lambda each: type(each).__name__)
def test_a_report_is_as_the_schema_of_its_command_says(shown: Report) -> None:
    document = json.loads(shown.as_json())
    schema.check(document)
    with pytest.raises(jsonschema.ValidationError, match="schema_version"):
        schema.check({**document, "schema_version": 0})


@pytest.mark.parametrize("command", VERSIONS)
def test_each_command_has_a_schema_with_its_name_and_version(command: Command) -> None:
    document = schema.document(command)
    jsonschema.Draft202012Validator.check_schema(document)
    assert document["$id"] == f"urn:recompress:{command}:{VERSIONS[command]}"
    text = json.dumps(document["$defs"])
    assert f'"command": {{"const": "{command}"}}, "schema_version": {{"const": {VERSIONS[command]}}}' in text


def test_there_is_a_schema_for_every_command_of_the_program_and_no_other() -> None:
    commands = set(typer.main.get_command(cli.app).commands)  # type: ignore[attr-defined]
    assert set(VERSIONS) == commands
    assert {file.name.partition(".")[0] for file in schema.DOCS.glob("*.schema.json")} == commands
