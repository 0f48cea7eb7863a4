"""Forged twins: the real command `recompress verify` judges them, and where it takes one for a twin, the real
podman gets the gzip image's files from it, pulled partially and pulled in full.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import httpx

from recompress.manifest import MediaType
from tests.differential.experiment import judge
from tests.differential.forgeries import CHANGES, Change, Honest, forged
from tests.differential.layers import Image
from tests.differential.pulls import BASE, REPOSITORY, Form, Laboratory, Pulled, Stack, gzip_image, stack_of
from tests.differential.trees import differences
from tests.images import HandmadeImage
from tests.integration.command import recompress

_AT_A_TIME = 2
_PROVEN, _UNSUPPORTED, _REFUSED = 0, 5, 6
_OF_AN_IMAGE = 4
"""How many forgeries are made of an image."""


@dataclass(frozen=True, slots=True)
class Forgery:
    """A twin of an image with these layers on the base, and what is changed in it."""

    image: Image
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a forgery: what `recompress verify` said of it, and what is wrong with that, if so.

    `code` is its exit code, None where no forgery came out of the changes, or a registry does not take it.
    """

    changes: tuple[str, ...]
    code: int | None
    said: str = ""
    wrong: str | None = None


def random_forgeries(seed: str, images: Sequence[Image]) -> Iterator[Forgery]:
    """Forgeries of these images, without an end. Each change comes first in as many as any other."""
    dice = random.Random(seed)
    for number, first in enumerate(itertools.cycle(CHANGES)):
        others = (dice.choice(CHANGES) for _ in range(dice.choice((0, 0, 0, 1, 2))))
        changes = tuple(Change(name, dice.randrange(2**32)) for name in (first, *others))
        yield Forgery(images[number // _OF_AN_IMAGE % len(images)], changes)


def try_forgeries(laboratory: Laboratory, forgeries: Sequence[Forgery]) -> list[Outcome]:
    """Make the forgeries, and try them."""
    honest = _honest(laboratory, list(dict.fromkeys(stack_of(forgery.image) for forgery in forgeries)))
    unchanged = {stack: forged(twin, ()).manifest for stack, twin in honest.items()}
    made = {}
    for forgery in forgeries:
        stack = stack_of(forgery.image)
        if twin := honest.get(stack):
            image = forged(twin, forgery.changes)
            if image.manifest != unchanged[stack]:
                made[forgery] = (stack, image)
    outcomes = dict(zip(made, try_twins(laboratory, list(made.values())), strict=True))
    nothing = Outcome((), None, "it is no forgery")
    return [
        replace(outcomes.get(forgery, nothing), changes=tuple(change.name for change in forgery.changes))
        for forgery in forgeries
    ]


def forge(laboratory: Laboratory, forgery: Forgery) -> HandmadeImage:
    """Make a forgery of an image that has a twin."""
    stack = stack_of(forgery.image)
    return forged(_honest(laboratory, [stack])[stack], forgery.changes)


def _honest(laboratory: Laboratory, stacks: Sequence[Stack]) -> dict[Stack, Honest]:
    """The twins of these images; of those that have one."""
    judged = judge(laboratory, stacks)
    honest = {}
    for stack, why in judged.why_full.items():
        packed = [judged.packed[layer] for layer in (BASE, *stack)]
        partially = (True, *(reason is None for reason in why))
        honest[stack] = Honest(tuple(layer for layer in packed if layer), partially, gzip_image(stack).config)
    return honest


def try_twins(laboratory: Laboratory, made: Sequence[tuple[Stack, HandmadeImage]]) -> list[Outcome]:
    """Have such twins of images verified, pull those that are proven, and compare."""
    laboratory.push([gzip_image(stack) for stack, _ in made])
    laboratory.push_blobs({blob for _, image in made for blob in image.layers})
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        outcomes = list(pool.map(lambda pair: _verify(laboratory, *pair), made))
    proven = [number for number, outcome in enumerate(outcomes) if outcome.code == _PROVEN]
    gzip = {stack: gzip_image(stack) for stack, _ in (made[number] for number in proven)}
    # Clients take layers that they have, so each forgery gets a store of its own.
    forms: dict[Form, dict[Stack, HandmadeImage]] = {
        Form(is_rootless, _GZIP): gzip for is_rootless in (False, True)
    }
    for number, way in itertools.product(proven, _WAYS):
        stack, image = made[number]
        forms[way._replace(what=str(number))] = {stack: image}
    pulled = laboratory.pull(forms)
    for number in proven:
        stack, _ = made[number]
        pairs = {
            way: (pulled[Form(way.is_rootless, _GZIP)][stack], pulled[way._replace(what=str(number))][stack])
            for way in _WAYS
        }
        outcomes[number] = replace(outcomes[number], wrong=_difference(pairs))
    return outcomes


_GZIP = "gzip"
_WAYS = (Form(False, ""), Form(False, "", pulls_partially=False), Form(True, ""))
"""The ways to pull a forgery."""


def _verify(laboratory: Laboratory, stack: Stack, image: HandmadeImage) -> Outcome:
    try:
        laboratory.registry.push_manifest(REPOSITORY, image.manifest, MediaType.OCI_MANIFEST)
    except httpx.HTTPStatusError as error:
        return Outcome((), None, f"the registry does not take it: {error.response.status_code}")
    repository = f"{laboratory.registry.host}/{REPOSITORY}"
    images = (f"{repository}@{one.digest}" for one in (gzip_image(stack), image))
    ended = recompress("verify", *images, "--no-tls-verify")
    said = "" if ended.code == _PROVEN else ended.error
    is_right = ended.code in (_PROVEN, _UNSUPPORTED, _REFUSED)
    return Outcome((), ended.code, said, None if is_right else f"exit code {ended.code}: {said}")


def _difference(pairs: Mapping[Form, tuple[Pulled, Pulled]]) -> str | None:
    """The first difference between what clients have of the gzip image, and of the forgery."""
    for way, (gzip, pulled) in pairs.items():
        how = "partially" if way.pulls_partially else "in full"
        who = f"{'rootless' if way.is_rootless else 'root'}, {how}"
        if gzip.error:
            continue
        if pulled.error:
            return f"{who}: it cannot be pulled: {pulled.error}"
        for number, trees in enumerate(zip(gzip.trees, pulled.trees, strict=True)):
            if lines := differences(*trees):
                return f"{who}, layer {number}: {lines[0]}"
    return None
