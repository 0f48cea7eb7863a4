"""The rules judge images, the real podman pulls them, and both are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recompress.errors import VerificationFailed
from recompress.layer.proof import LayerProof
from tests.differential.pulls import BASE, Laboratory, Pulled, Stack, gzip_image, twin_image
from tests.differential.trees import differences
from tests.images import HandmadeImage


@dataclass(frozen=True, slots=True)
class Result:
    """What came of an image: for each layer what the rules say, and what a partial pull of it does.

    `why_full[n]` is why layer n has to be pulled in full, None where it need not. `difference[n]` is the
    first difference that a partial pull of it makes, None where it makes none. `wrong` is what must never be:
    a twin that is another image to a client. `incomparable` is why there was nothing to compare, if so.
    """

    stack: Stack
    why_full: tuple[str | None, ...] = ()
    difference: tuple[str | None, ...] = ()
    wrong: str | None = None
    incomparable: str | None = None

    @property
    def for_nothing(self) -> list[str]:
        """The reasons that kept a client from partial pulls that would have given the same files."""
        pairs = zip(self.why_full, self.difference, strict=True)
        return [why for why, difference in pairs if why is not None and difference is None]


def experiment(laboratory: Laboratory, stacks: Sequence[Stack]) -> list[Result]:
    """Judge the images, pull them in all forms, and compare.

    All layers have to be different ones: a client takes what it has, however it pulled that.
    """
    packed = laboratory.compress([BASE, *(layer for stack in stacks for layer in stack)])
    proofs: dict[bytes, LayerProof | str] = {}
    for layer, made in packed.items():
        try:
            proofs[layer] = made.prove() if made else "skopeo fails to compress it"
        except VerificationFailed as error:
            proofs[layer] = str(error)
    judged = {stack: judge(stack, proofs) for stack in stacks}
    verdicts = {stack: verdict for stack, verdict in judged.items() if not isinstance(verdict, str)}
    depth = max(map(len, stacks))
    # An image is in a store once, so each form has a store of its own.
    forms: list[dict[Stack, HandmadeImage]] = [{} for _ in range(3 + depth)]
    for stack, verdict in verdicts.items():
        forms[_GZIP][stack] = gzip_image(stack)
        for number, partially in _twins(verdict).items():
            forms[number][stack] = twin_image(stack, packed, partially)
    pulled = laboratory.pull(forms)
    return [
        _compare(stack, verdicts[stack], [form.get(stack) for form in pulled])
        if stack in verdicts
        else Result(stack, incomparable=f"no twin: {judged[stack]}")
        for stack in stacks
    ]


_GZIP, _FULL, _TWIN, _PUT_BACK = range(4)
"""The forms of an image: gzip, the twin in full, the twin as judged, and for each layer that is judged to be
pulled in full the twin as judged but for that one, which is pulled partially all the same."""


def _twins(verdict: Sequence[str | None]) -> dict[int, list[bool]]:
    """Which layers are pulled partially, by the form; without forms that come to the same."""
    as_judged = [why is None for why in verdict]
    forms = {_FULL: [False] * len(verdict)}
    if any(as_judged):
        forms[_TWIN] = as_judged
    for number, partially in enumerate(as_judged):
        if not partially:
            forms[_PUT_BACK + number] = [*as_judged[:number], True, *as_judged[number + 1 :]]
    return forms


def judge(stack: Stack, proofs: Mapping[bytes, LayerProof | str]) -> tuple[str | None, ...] | str:
    """Why each layer has to be pulled in full, as a run decides it; or why there is no twin."""
    verdict = []
    changed = False
    for layer in stack:
        proof = proofs[layer]
        if isinstance(proof, str):
            return proof
        verdict.append(proof.why_full or ("a layer below changes the root directory" if changed else None))
        changed = changed or proof.changes_root
    return tuple(verdict)


def _compare(stack: Stack, why_full: tuple[str | None, ...], forms: Sequence[Pulled | None]) -> Result:
    for number, partially in {_GZIP: [False] * len(stack), **_twins(why_full)}.items():
        pulled = forms[number]
        assert pulled is not None
        if pulled.error is None:
            assert list(pulled.partially) == partially, "podman did not pull as it should"
    gzip, full = forms[_GZIP], forms[_FULL]
    assert gzip is not None
    assert full is not None
    twin = forms[_TWIN] or full
    numbers = range(len(stack))
    difference = tuple(_difference(n, gzip, forms[_PUT_BACK + n] or twin) for n in numbers)
    wrongs = [
        f"{form}, layer {n}: {wrong}"
        for form, pulled in (("in full", full), ("as judged", twin))
        for n in numbers
        if (wrong := _difference(n, gzip, pulled))
    ]
    incomparable = None
    if gzip.error and not wrongs:
        incomparable = f"podman cannot pull it as gzip either: {gzip.error}"
    return Result(stack, why_full, difference, wrongs[0] if wrongs else None, incomparable)


def _difference(number: int, gzip: Pulled, other: Pulled) -> str | None:
    if gzip.error or other.error:
        if gzip.error and other.error:
            return None
        return f"one form cannot be pulled: {gzip.error or other.error}"
    found = differences(gzip.trees[number], other.trees[number])
    return found[0] if found else None
