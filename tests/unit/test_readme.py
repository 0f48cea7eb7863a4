"""README.md and the other documents: links lead somewhere, and examples are the real ones."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.tekton.resources import ROOT

README = (ROOT / "README.md").read_text()
DOCUMENTS = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/*.md"),
    *ROOT.glob("examples/*.md"),
    *ROOT.glob("bench/*.md"),
]


def links() -> Iterator[tuple[Path, str]]:
    """Each link of each document to a place in this repository."""
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
            if "://" not in target:
                yield document.relative_to(ROOT), target


def anchors(document: Path) -> set[str]:
    """What the headings of a document are called in links, as forges make it of them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_is_read_in_a_few_minutes() -> None:
    assert len(README.splitlines()) <= 130


@pytest.mark.parametrize(("document", "target"), list(links()), ids=str)
def test_a_link_leads_to_a_file_and_a_heading_of_it(document: Path, target: str) -> None:
    name, _, anchor = target.partition("#")
    file = (ROOT / document.parent / name) if name else ROOT / document
    assert file.exists()
    assert not anchor or anchor in anchors(file)


def test_the_pipeline_of_the_readme_is_that_of_the_examples() -> None:
    (snippet,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    example = yaml.safe_load((ROOT / "examples/multi-arch-pipeline.yaml").read_text())
    tasks = {task["name"]: task for task in example["spec"]["tasks"]}
    entries = yaml.safe_load(snippet)
    assert [entry["name"] for entry in entries] == ["recompress", "index"]
    for entry in entries:
        assert entry.items() <= tasks[entry["name"]].items()
