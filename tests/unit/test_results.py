from __future__ import annotations

import os
from pathlib import Path

import pytest

from recompress import results
from recompress.errors import UsageError
from recompress.reference import Digest, Repository
from recompress.results import Named, Results

DIGEST = Digest.of(b"twin")
REPOSITORY = Repository("quay.io", "org/app")
IMAGE = Named(REPOSITORY, "1", DIGEST)


def test_the_results_name_the_twin_by_tag_by_digest_and_by_reference() -> None:
    assert Results(IMAGE).files() == {
        "IMAGE_URL": "quay.io/org/app:1",
        "IMAGE_DIGEST": str(DIGEST),
        "IMAGE_REF": f"quay.io/org/app@{DIGEST}",
    }


def test_an_sbom_is_named_by_the_digest_of_its_json() -> None:
    files = Results(IMAGE, sbom=Digest.of(b"{}")).files()
    assert files["SBOM_BLOB_URL"] == f"quay.io/org/app@{Digest.of(b'{}')}"


def test_without_a_tag_the_url_is_the_repository() -> None:
    assert Results(Named(REPOSITORY, None, DIGEST)).files()["IMAGE_URL"] == "quay.io/org/app"


def test_the_oci_image_has_a_url_and_a_digest_that_chains_signs_beside_its_reference() -> None:
    oci = Named(REPOSITORY, "1.oci", Digest.of(b"oci"))
    assert Results(IMAGE, oci).files() == {
        **Results(IMAGE).files(),
        "OCI_IMAGE_URL": "quay.io/org/app:1.oci",
        "OCI_IMAGE_DIGEST": str(oci.digest),
        "OCI_IMAGE_REF": f"quay.io/org/app@{oci.digest}",
    }


def test_what_was_recompressed_is_an_object_with_uri_and_digest() -> None:
    source = Named(REPOSITORY, None, Digest.of(b"source"))
    files = Results(IMAGE, source=source).files()
    assert files["SOURCE_ARTIFACT_INPUTS"] == f'{{"uri":"oci://quay.io/org/app","digest":"{source.digest}"}}'


def test_each_result_is_a_file_of_exactly_its_text_that_every_user_can_read(tmp_path: Path) -> None:
    files = Results(IMAGE).files()
    results.write(tmp_path, files)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {n: t.encode() for n, t in files.items()}
    assert {p.stat().st_mode & 0o777 for p in tmp_path.iterdir()} == {0o644}


def test_results_of_an_earlier_run_are_replaced(tmp_path: Path) -> None:
    results.write(tmp_path, {"IMAGE_DIGEST": "a much longer text than the new one"})
    results.write(tmp_path, {"IMAGE_DIGEST": "new"})
    assert (tmp_path / "IMAGE_DIGEST").read_text() == "new"


def test_when_one_result_cannot_be_put_in_place_there_are_none(tmp_path: Path) -> None:
    (tmp_path / "IMAGE_REF").mkdir()
    with pytest.raises(UsageError, match="the results cannot be written"):
        results.write(tmp_path, Results(IMAGE).files())
    assert [p.name for p in tmp_path.iterdir()] == ["IMAGE_REF"]


def test_when_the_run_is_ended_while_writing_there_are_no_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[Path] = []
    replace = Path.replace

    def interrupted(self: Path, target: Path) -> Path:
        if moved:
            raise KeyboardInterrupt
        moved.append(target)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        results.write(tmp_path, Results(IMAGE).files())
    assert moved
    assert list(tmp_path.iterdir()) == []


def test_a_results_directory_that_is_not_there_is_found_out_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        results.check_directory(tmp_path / "missing")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="does not exist"):
        results.check_directory(tmp_path / "file")


def test_a_results_directory_that_cannot_be_written_is_found_out_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The tests may run as root, whom no mode of a directory stops.
    def read_only(*_: object, **__: object) -> None:
        raise OSError(30, os.strerror(30))

    monkeypatch.setattr("tempfile.TemporaryFile", read_only)
    with pytest.raises(UsageError, match="cannot be written: Read-only file system"):
        results.check_directory(tmp_path)


def test_a_good_results_directory_is_left_as_it_is(tmp_path: Path) -> None:
    results.check_directory(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_results_of_an_earlier_run_are_taken_away_before_a_new_one(tmp_path: Path) -> None:
    everything = Results(IMAGE, IMAGE, IMAGE, DIGEST).files()
    for name in (*everything, "IMAGES", "OTHER"):
        (tmp_path / name).write_text("old")
    results.check_directory(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["OTHER"]
