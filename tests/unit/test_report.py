from __future__ import annotations

import io
import json
import logging
from dataclasses import replace

import pytest

from recompress.errors import UsageError
from recompress.image import Image
from recompress.inspect_report import InspectedImage, InspectReport
from recompress.log import Warnings
from recompress.manifest import (
    Compression,
    Descriptor,
    Manifest,
    MediaType,
    Platform,
    parse_config,
    parse_manifest,
)
from recompress.reference import Digest, Reference, Repository
from recompress.report import (
    Action,
    LayerReport,
    RunReport,
    compression,
)
from recompress.sbom_report import SbomAction, SbomReport
from recompress.showing import Output, show
from tests import images

DIFF_IDS = [Digest.of(b"first"), Digest.of(b"second")]
SOURCE = Reference.parse("quay.io/org/app")
TWIN_DIGEST = Digest.of(b"twin")
CHUNKED = images.chunked_annotations()


def blob(media_type: str, size: int, annotations: dict[str, str] | None = None) -> Descriptor:
    return Descriptor(media_type, Digest.of(str(size).encode()), size, annotations or {})


def image() -> Image:
    config = images.config(list(map(str, DIFF_IDS)))
    manifest = parse_manifest(images.manifest(config), MediaType.OCI_MANIFEST)
    assert isinstance(manifest, Manifest)
    return Image(SOURCE.with_digest(manifest.digest), manifest, parse_config(config))


def report(*warnings: str) -> RunReport:
    layers = (
        LayerReport(
            DIFF_IDS[0],
            blob(MediaType.OCI_LAYER_GZIP, 50_000_000),
            blob(MediaType.OCI_LAYER_ZSTD, 45_000_000, CHUNKED),
            Action.COMPRESSED,
            None,
            12.34567,
        ),
        LayerReport(
            DIFF_IDS[1],
            blob(MediaType.OCI_LAYER, 1_000_000),
            blob(MediaType.OCI_LAYER_ZSTD, 500_000, CHUNKED),
            Action.REUSED,
            "quay.io/org/base:1",
            None,
        ),
    )
    twin = Reference(SOURCE.repository, "a-tag", TWIN_DIGEST)
    return RunReport(
        source=image(),
        twin=twin,
        layers=layers,
        seconds=15.04,
        results={"IMAGE_DIGEST": str(TWIN_DIGEST)},
        warnings=warnings,
        verified="content",
    )


def shown(capsys: pytest.CaptureFixture[str], output: str, *warnings: str) -> str:
    show(report(*warnings), Output(output))
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def test_the_table_has_layer_from_to_sizes_seconds_the_total_and_both_digests(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = [line.split() for line in shown(capsys, "text").splitlines()]
    layer = report().layers[0].source.digest.short
    assert ["│", layer, "│", "gzip", "│", "zstd:chunked", "│", "compressed", "│", "partially", "│",
            "50.0", "MB", "│", "45.0", "MB", "│", "12.3", "│"] in lines  # fmt: skip
    assert ["│", "total", "│", "│", "│", "│", "│", "51.0", "MB", "│", "45.5", "MB", "│", "15.0", "│"] in lines
    assert ["source", f"quay.io/org/app@{image().manifest.digest}"] in lines
    assert ["twin", f"quay.io/org/app:a-tag@{TWIN_DIGEST}"] in lines
    assert ["proven", "content"] in lines


def test_no_line_of_a_report_in_a_log_is_cut_or_wrapped(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    text = shown(capsys, "text", "a long warning " * 30)
    assert "…" not in text
    assert f"twin    quay.io/org/app:a-tag@{TWIN_DIGEST}\n" in text
    assert ("a long warning " * 30).strip() in text


def test_a_warning_stands_below_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "text", "mind [this]").rstrip().endswith("warning: mind [this]")


def test_the_json_report_has_all_that_the_table_has_in_bytes_and_seconds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    document = json.loads(shown(capsys, "json", "mind this"))
    assert document["outcome"] == "recompressed"
    assert document["platform"] == "linux/amd64"
    assert document["image_id"] == str(image().config.digest)
    assert document["source_digest"] == str(image().manifest.digest)
    assert document["twin_digest"] == str(TWIN_DIGEST)
    assert (document["source_size"], document["twin_size"]) == (51_000_000, 45_500_000)
    assert document["warnings"] == ["mind this"]
    assert document["results"] == {"IMAGE_DIGEST": str(TWIN_DIGEST)}
    first = document["layers"][0]
    assert first["diff_id"] == str(DIFF_IDS[0])
    assert first["seconds"] == 12.346
    assert first["from"] == {
        "digest": str(Digest.of(b"50000000")),
        "media_type": MediaType.OCI_LAYER_GZIP,
        "compression": "gzip",
        "chunked": False,
        "size": 50_000_000,
    }
    assert first["to"]["compression"] == "zstd:chunked"
    assert first["to"]["chunked"] is True


@pytest.mark.parametrize("level", [None, 3])
def test_with_a_level_it_is_said_how_many_layers_may_have_another_one(
    capsys: pytest.CaptureFixture[str], level: int | None
) -> None:
    asked = replace(report(), level=level)
    document = json.loads(asked.as_json())
    assert (document["level"], document["reused_at_any_level"]) == (level, level and 1)
    show(asked, Output.TEXT)
    line = "level   3; 1 reused layer may have another"
    assert (line in capsys.readouterr().out.splitlines()) == (level is not None)


def test_a_source_that_is_its_own_twin_is_reported_as_nothing_done(
    capsys: pytest.CaptureFixture[str],
) -> None:
    same = image()
    unchanged = RunReport(
        source=same,
        twin=same.reference,
        layers=(),
        seconds=0.1,
        results={},
        warnings=(),
        verified="content",
    )
    show(unchanged, Output.TEXT)
    assert "already zstd:chunked, nothing was pushed" in capsys.readouterr().out
    assert json.loads(unchanged.as_json())["outcome"] == "already zstd:chunked"
    tagged = replace(same.reference, tag="new")
    elsewhere = replace(same.reference, repository=Repository("quay.io", "org/other"))
    show(replace(unchanged, twin=tagged), Output.TEXT)
    assert "already zstd:chunked, nothing but a tag was pushed" in capsys.readouterr().out
    show(replace(unchanged, twin=elsewhere), Output.TEXT)
    assert "already zstd:chunked, copied as it is" in capsys.readouterr().out


SBOM = SbomReport(
    found=Reference(SOURCE.repository, "its.sbom"),
    source_blob=SOURCE.with_digest(DIFF_IDS[0]),
    format="text/spdx+json",
    packages=12,
    is_pinned=False,
    action=SbomAction.DERIVED,
    attached=Reference(SOURCE.repository, "a.sbom"),
    blob=SOURCE.with_digest(DIFF_IDS[1]),
)


@pytest.mark.parametrize(
    ("sbom", "lines"),
    [
        (
            SBOM,
            "sbom    12 packages, derived from quay.io/org/app:its.sbom\n"
            "        attached as quay.io/org/app:a.sbom\n"
            "        trusted as it is: whoever can push to quay.io/org/app chooses it "
            "(--sbom-from pins it)\n",
        ),
        (
            replace(SBOM, is_pinned=True, action=SbomAction.THERE),
            "sbom    12 packages, derived from quay.io/org/app:its.sbom by an earlier run\n"
            "        attached as quay.io/org/app:a.sbom\n",
        ),
        (
            replace(SBOM, is_pinned=True, action=SbomAction.OWN, attached=SBOM.found),
            "sbom    12 packages, the source's own\n        attached as quay.io/org/app:its.sbom\n",
        ),
    ],
)
def test_the_sbom_is_told_from_where_it_is_and_why_it_is_believed(
    capsys: pytest.CaptureFixture[str], sbom: SbomReport, lines: str
) -> None:
    show(replace(report("mind this"), sbom=sbom), Output.TEXT)
    assert f"\n{lines}warning: mind this\n" in capsys.readouterr().out


def test_inspect_shows_a_section_per_manifest(capsys: pytest.CaptureFixture[str]) -> None:
    layers = (blob(MediaType.OCI_LAYER_GZIP, 1000), blob(MediaType.OCI_LAYER_ZSTD, 3000, CHUNKED))
    amd64 = InspectedImage(Digest.of(b"1"), MediaType.OCI_MANIFEST, Platform("linux", "amd64"), layers)
    other = InspectedImage(Digest.of(b"2"), MediaType.OCI_MANIFEST, None, (), "attestation")
    inspected = InspectReport(SOURCE, True, (amd64, other))
    show(inspected, Output.TEXT)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["│", "linux/amd64", "│", Digest.of(b"1").short, "│", layers[0].digest.short, "│",
            "gzip", "│", "no", "│", "1.0", "kB", "│"] in lines  # fmt: skip
    assert [
        "│",
        "│",
        "│",
        layers[1].digest.short,
        "│",
        "zstd:chunked",
        "│",
        "yes",
        "│",
        "3.0",
        "kB",
        "│",
    ] in lines
    assert ["│", "│", "│", "total", "│", "│", "│", "4.0", "kB", "│"] in lines
    assert ["│", "│", Digest.of(b"2").short, "│", "│", "attestation", "│", "│", "│"] in lines
    document = json.loads(inspected.as_json())
    assert document["index"] is True
    assert [entry["platform"] for entry in document["manifests"]] == ["linux/amd64", None]
    assert document["manifests"][0]["size"] == 4000
    assert document["manifests"][1]["note"] == "attestation"


def test_a_layer_of_an_unknown_kind_is_shown_by_its_media_type() -> None:
    assert compression(blob("application/x", 1)) == "application/x"
    assert compression(blob(MediaType.OCI_LAYER_ZSTD, 1)) == Compression.ZSTD


def test_warnings_are_gathered_while_the_run_lasts_and_no_longer() -> None:
    log = logging.getLogger("recompress.somewhere")
    with Warnings() as warnings:
        log.warning("mind %s", "this")
        log.info("not that")
    log.warning("too late")
    assert warnings.texts == ["mind this"]


HOSTILE = "amd64[/x]:smile:\x1b]0;title\x07\x9b31m\u202e\ud800"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_what_an_image_says_is_no_markup_and_no_command_to_the_terminal(
    monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding))
    hostile = blob(HOSTILE, 1)
    layers = (LayerReport(DIFF_IDS[0], hostile, hostile, Action.KEPT, HOSTILE, None),)
    source = replace(image(), config=replace(image().config, platform=Platform("linux", HOSTILE)))
    show(replace(report(f"mind\n{HOSTILE}"), source=source, layers=layers, why_kept=HOSTILE), Output.TEXT)
    inspected = InspectedImage(Digest.of(b"1"), HOSTILE, Platform("linux", HOSTILE), (hostile,), HOSTILE)
    show(InspectReport(SOURCE, True, (inspected,)), Output.TEXT)
    text = written.getvalue().decode(encoding)
    assert all(character == "\n" or character.isprintable() for character in text)
    assert "\nwarning: mind\\n" + "amd64[/x]:smile:\\x1b]0;title\\x07\\x9b31m\\u202e\\ud800" in text


def test_a_terminal_is_shown_colours_but_no_commands_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stdout", terminal)
    show(report(HOSTILE), Output.TEXT)
    assert "\x1b[" in terminal.getvalue()
    assert "\x1b]" not in terminal.getvalue()


@pytest.mark.parametrize("output", list(Output))
def test_a_standard_output_that_is_full_is_told(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr("sys.stdout", full)
        with pytest.raises(UsageError, match=r"cannot be written to standard output \(No space left"):
            show(report(), output)
        # What could not be written is no failure when Python ends.
        full.flush()
