from __future__ import annotations

import logging

import pytest

from recompress.errors import Unsupported
from recompress.partial_pulls import check, judge, ranges_like_podmans
from recompress.reference import Digest
from recompress.registry import RepositoryClient, TwoRanges, TwoRangesAnswer
from tests.fake_registry import FakeRegistry

BROKEN = TwoRangesAnswer(TwoRanges.BREAKS_PULLS, "501 Not Implemented")


@pytest.mark.parametrize("honours_ranges", [True, False])
def test_before_the_work_only_a_registry_that_breaks_pulls_is_spoken_of(
    client: RepositoryClient, registry: FakeRegistry, honours_ranges: bool, caplog: pytest.LogCaptureFixture
) -> None:
    registry.honours_ranges = honours_ranges
    blob = bytes(range(100))
    registry.blobs[str(Digest.of(blob))] = blob
    ranges = ranges_like_podmans(len(blob))
    assert ranges
    check(client, Digest.of(blob), ranges)
    assert caplog.text == ""
    assert len(registry.server.asked("GET", "/blobs/")) == 1


def test_a_registry_that_breaks_pulls_is_found_out_with_a_blob_of_the_source(
    client: RepositoryClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RepositoryClient, "two_ranges", lambda *_: BROKEN)
    ranges = ranges_like_podmans(100)
    assert ranges
    with pytest.raises(Unsupported, match="501 Not Implemented"):
        check(client, Digest.of(b""), ranges)


@pytest.mark.parametrize("require", [True, False])
@pytest.mark.parametrize(
    ("kind", "cost"),
    [
        (TwoRanges.WHOLE_BLOB, "clients that pull partially download each layer twice"),
        (TwoRanges.REFUSED_WITH_400, "zstd:chunked saves them nothing there"),
    ],
)
def test_what_only_costs_is_a_warning(
    kind: TwoRanges, cost: str, require: bool, caplog: pytest.LogCaptureFixture
) -> None:
    judge(TwoRangesAnswer(kind, "999 Detail"), "quay.io", require=require)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "the registry quay.io answers a request for two ranges of a layer with 999 Detail" in caplog.text
    assert cost in caplog.text


def test_what_breaks_pulls_is_unsupported_and_says_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(Unsupported) as raised:
        judge(BROKEN, "quay.io", require=True)
    text = str(raised.value)
    assert "the registry quay.io answers a request for two ranges of a layer with 501 Not Implemented" in text
    assert "--partial-pulls warn" in text
    assert caplog.text == ""


def test_what_breaks_pulls_is_a_warning_for_those_whose_clients_pull_no_parts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(Unsupported) as raised:
        judge(BROKEN, "quay.io", require=True)
    judge(BROKEN, "quay.io", require=False)
    assert [record.getMessage() for record in caplog.records] == [str(raised.value)]


@pytest.mark.parametrize("size", [11, 12, 13, 14, 32, 1000, 3079, 3080, 3081, 10**9])
def test_the_ranges_to_ask_a_blob_for_lie_as_those_of_a_layer_do(size: int) -> None:
    ranges = ranges_like_podmans(size)
    assert ranges
    first, second = ranges
    assert first.length == second.length > 0
    assert first.offset >= 0
    assert second.offset - first.last - 1 == 8, "the header of a skippable frame is between them"
    assert second.last + 1 < size, "a footer is behind them"
    # Go's http.ServeContent sends all of a blob that is smaller than its ranges together.
    assert first.length + second.length < size
    assert first.length <= 1024


@pytest.mark.parametrize("size", [0, 1, 8, 9, 10])
def test_a_blob_of_a_few_bytes_cannot_be_asked_for_two_ranges(size: int) -> None:
    assert ranges_like_podmans(size) is None
