"""Several instances at the same time, in one repository and in several."""

from __future__ import annotations

from pathlib import Path

from tests.integration.registries import Registry
from tests.integration.scene import NEW, OLD
from tests.load import at_once


def test_instances_at_the_same_time_do_not_get_in_each_others_way(
    registry: Registry, repository: str, tmp_path: Path
) -> None:
    same = [(repository, image) for image in (OLD, NEW, OLD, NEW)]
    others = [(f"{repository}-{number}", image) for number, image in enumerate((OLD, NEW, OLD, NEW))]
    ended = at_once(registry, tmp_path, same + others)
    assert [each.code for each in ended] == [0] * 8, [each.err for each in ended]
    assert {each.digest for each in ended[::2]} == {ended[0].digest}
    assert {each.digest for each in ended[1::2]} == {ended[1].digest}
