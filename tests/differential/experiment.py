"""The rules judge images, the real podman pulls them, and both are compared."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from recompress.errors import Unsupported, VerificationFailed
from recompress.layer import Layout, Verdict, check_source, judge_tables
from recompress.manifest import Descriptor
from recompress.reference import Digest
from recompress.twin import why_full
from tests.differential.pulls import (
    BASE,
    Form,
    Laboratory,
    Pulled,
    Stack,
    gzip_image,
    gzipped,
    twin_image,
)
from tests.differential.trees import differences
from tests.images import HandmadeImage
from tests.tampering import Packed

_RUNS = 3
"""How many runs of the command are made at a time."""

_BY_A_RACE = "is not in the layer before it, and it has content"
"""A reason that one pull need not show: it fails by a race (tests/integration/test_partial_pulls.py)."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of an image: for each layer what the rules say, and what a partial pull of it does.

    `why_full[n]` is why layer n has to be pulled in full, None where it need not. `difference[n]` is the
    first difference that a partial pull of it makes, None where it makes none. `wrong` is what must never be:
    a twin that is another image to a client. `refused` is why `recompress` makes no twin, if so, and
    `incomparable` why there was nothing to compare.
    """

    layers: int
    why_full: tuple[str | None, ...] = ()
    difference: tuple[str | None, ...] = ()
    wrong: str | None = None
    refused: str | None = None
    incomparable: str | None = None

    @property
    def for_nothing(self) -> list[str]:
        """The reasons that kept a client from partial pulls that would have given the same files."""
        if self.wrong or self.refused or self.incomparable:
            return []
        pairs = zip(self.why_full, self.difference, strict=True)
        return [why for why, difference in pairs if why and not difference and _BY_A_RACE not in why]


@dataclass(frozen=True, slots=True)
class Judged:
    """Images: how skopeo packs their layers, the verdict on each, and why it has to be pulled in full.

    `others` are the results for images that have no twin.
    """

    packed: Mapping[bytes, Packed | None]
    verdicts: Mapping[bytes, Verdict]
    why_full: Mapping[Stack, tuple[str | None, ...]]
    others: Mapping[Stack, Result]


def judge(laboratory: Laboratory, stacks: Sequence[Stack]) -> Judged:
    """Compress the images with skopeo, and judge them by the rules."""
    packed = laboratory.compress([BASE, *(layer for stack in stacks for layer in stack)])
    verdicts = {layer: _judge(layer, made) for layer, made in packed.items()}
    reasons: dict[Stack, tuple[str | None, ...]] = {}
    others: dict[Stack, Result] = {}
    for stack in stacks:
        found = [verdicts[layer] for layer in stack]
        ends = [verdict for verdict in found if isinstance(verdict, Result)]
        if ends:
            others[stack] = replace(ends[0], layers=len(stack))
        else:
            reasons[stack] = why_full(verdict for verdict in found if isinstance(verdict, Verdict))
    proven = {layer: verdict for layer, verdict in verdicts.items() if isinstance(verdict, Verdict)}
    return Judged(packed, proven, reasons, others)


def experiment(laboratory: Laboratory, stacks: Sequence[Stack]) -> list[Result]:
    """Judge the images, pull them in all forms, and compare.

    All layers have to be different ones: a client takes what it has, however it pulled that.
    """
    judged = judge(laboratory, stacks)
    results = {**judged.others, **_otherwise_by_the_command(laboratory, judged)}
    # An image is in a store once, so each form has a store of its own.
    forms: dict[Form, dict[Stack, HandmadeImage]] = defaultdict(dict)
    for stack, why in judged.why_full.items():
        for is_rootless in (False, True):
            forms[Form(is_rootless, _GZIP)][stack] = gzip_image(stack)
            for what, partially in _twins(why, is_rootless).items():
                forms[Form(is_rootless, what)][stack] = twin_image(stack, judged.packed, partially)
    pulled = laboratory.pull(forms)
    for stack, why in judged.why_full.items():
        of_stack = {form: found[stack] for form, found in pulled.items() if stack in found}
        if stack not in results:
            results[stack] = _compare(why, of_stack)
    return [results[stack] for stack in stacks]


def _otherwise_by_the_command(laboratory: Laboratory, judged: Judged) -> dict[Stack, Result]:
    """The images of which the command `recompress run` says something else than the rules that it has.

    It makes one twin of all layers that have one; each image that has none is exit 5, with the reason.
    """
    wrong = {}
    # One that changes the root has a say in how layers above it are pulled.
    layers = {layer: judged.verdicts[layer] for stack in judged.why_full for layer in stack}
    row = sorted(layers, key=lambda layer: layers[layer].changes_root)
    refused = {stack: result.refused for stack, result in judged.others.items() if result.refused}
    laboratory.push([gzip_image(stack) for stack in (tuple(row), *refused)])
    if row:
        of_all = why_full(layers[layer] for layer in row)
        annotated = dict(zip(row, laboratory.run(tuple(row)), strict=True))
        for layer, why in zip(row, of_all, strict=True):
            if annotated[layer] != (why is None):
                said = "partially" if annotated[layer] else "in full"
                stack = next(stack for stack in judged.why_full if layer in stack)
                wrong[stack] = Result(len(stack), wrong=f"`recompress run` lets it be pulled {said}: {why}")
    with ThreadPoolExecutor(_RUNS) as pool:
        answers = list(pool.map(laboratory.run_fails, refused))
    for (stack, reason), said in zip(refused.items(), answers, strict=True):
        if reason not in said:
            wrong[stack] = Result(len(stack), wrong=f"`recompress run` does not say {reason}: {said}")
    return wrong


def _judge(layer: bytes, made: Packed | None) -> Verdict | Result:
    """The verdict on a layer; a result where it has no twin, or is not judged as it should be."""
    try:
        if made is None:
            raise VerificationFailed("skopeo fails to compress it")
        proof = made.prove()
        layout = Layout.of(made.layer)
        tables = (io.BytesIO(made.section(section)) for section in (layout.toc, layout.tar_split))
        by_tables = judge_tables(layout, *tables)
    except VerificationFailed as error:
        return _refused(layer, str(error))
    if (proof.why_full is None, proof.changes_root) != (by_tables.why_full is None, by_tables.changes_root):
        return Result(1, wrong=f"by its stream {proof.why_full}, by its tables {by_tables.why_full}")
    return proof


def _refused(layer: bytes, error: str) -> Result:
    """A layer that has no twin. Then recompress has to say why, with the path, and not that it was forged."""
    descriptor, blob = gzipped(layer)
    source = Descriptor(descriptor["mediaType"], Digest.of(blob), len(blob))
    try:
        check_source([blob], source, Digest.of(layer))
    except Unsupported as reason:
        return Result(1, refused=str(reason))
    return Result(1, wrong=f"no twin, and recompress does not say why: {error}")


_GZIP, _FULL, _TWIN, _PUT_BACK = "gzip", "twin in full", "twin", "twin with layer {} partially"
"""The forms of an image: gzip, the twin in full, the twin as judged, and for each layer that is judged to be
pulled in full the twin as judged but for that one, which is pulled partially all the same."""


def _twins(why: Sequence[str | None], is_rootless: bool) -> dict[str, list[bool]]:
    """Which layers are pulled partially, by the form; without forms that come to the same."""
    as_judged = [reason is None for reason in why]
    forms = {_TWIN: as_judged}
    if any(as_judged) and not is_rootless:
        forms[_FULL] = [False] * len(why)
    for number, partially in enumerate(as_judged):
        if not partially:
            forms[_PUT_BACK.format(number)] = [*as_judged[:number], True, *as_judged[number + 1 :]]
    return forms


def _compare(why: tuple[str | None, ...], forms: Mapping[Form, Pulled]) -> Result:
    difference: list[str | None] = [None] * len(why)
    wrongs = []
    for form, pulled in forms.items():
        who = "rootless" if form.is_rootless else "root"
        gzip = forms[Form(form.is_rootless, _GZIP)]
        partially = _twins(why, form.is_rootless).get(form.what, [False] * len(why))
        if pulled.error is None:
            assert list(pulled.partially) == partially, f"{who}: the {form.what} was pulled otherwise"
        for number, found in enumerate(_differences(gzip, pulled, len(why))):
            if found and form.what == _PUT_BACK.format(number):
                difference[number] = difference[number] or f"{who}: {found}"
            elif found and form.what in (_TWIN, _FULL):
                wrongs.append(f"{who}, {form.what}, layer {number}: {found}")
    incomparable = None
    if not any(difference) and all(forms[Form(is_rootless, _GZIP)].error for is_rootless in (False, True)):
        incomparable = f"podman cannot pull it as gzip: {forms[Form(False, _GZIP)].error}"
    wrong = wrongs[0] if wrongs else None
    return Result(len(why), why, tuple(difference), wrong, incomparable=incomparable)


def _differences(gzip: Pulled, other: Pulled, layers: int) -> list[str | None]:
    """How each layer differs, if it does. Who cannot pull the gzip image has nothing to compare."""
    if gzip.error:
        return [None] * layers
    if other.error:
        return [f"it cannot be pulled: {other.error}"] * layers
    pairs = zip(gzip.trees, other.trees, strict=True)
    return [next(iter(differences(full, partial)), None) for full, partial in pairs]
