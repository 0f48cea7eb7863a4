"""Which layers a partial pull unpacks otherwise than a full one: links, attributes, devices, times.

An entry "counts" if its layer has to be pulled in full.
"""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from typing import Any

import pytest

from tests.data.make_layers import CAPABILITY, header
from tests.entries import NO_XATTRS, device, directory, entry, file, hard_link, symlink, verdict

USER = {"user.name": "value"}
CAPABLE = {"security.capability": CAPABILITY.decode()}
OTHERWISE_CAPABLE = {"security.capability": CAPABILITY.decode() + "\0\0\0\0"}
LAST_SECOND = 2**63 // 10**9
MOST = 10_000


# Hard links


@pytest.mark.parametrize("target", ["a/f", "/a/f", "./a/f", "a//f", "a/./f"])
def test_a_hard_link_to_a_file_before_it_does_not_count(target: str) -> None:
    assert verdict(directory("a"), file("a/f", b"x"), hard_link("l", target), hard_link("m", "l")) is None


def test_a_hard_link_to_a_symbolic_link_does_not_count() -> None:
    assert verdict(symlink("a"), hard_link("b", "a"), hard_link("c", "b")) is None


@pytest.mark.parametrize(
    "target", ["later", "nowhere", "dir", "dir/", "/", "", "dir/.wh.gone", "dir/gone", "dev/null", "link"]
)
def test_a_hard_link_to_something_else_counts(target: str) -> None:
    before = [directory("dir"), file("dir/.wh.gone"), directory("dev"), device("dev/null")]
    assert verdict(*before, hard_link("link", target), file("later")) == (
        f"link: its target {target} is not a file that comes before it in the layer"
    )
    assert verdict(*before, file("later")) is None


@pytest.mark.parametrize("target", ["../f", "./../f", "/../f", "../../f", ".././f"])
def test_a_hard_link_may_go_up_from_the_root(target: str) -> None:
    assert verdict(directory("a"), file("f"), hard_link("link", target)) is None


@pytest.mark.parametrize("target", ["f/", "f/.", "a/../f", "../a/../f", ".../../f"])
def test_a_hard_link_counts_whose_target_is_spelled_so_that_pulls_disagree(target: str) -> None:
    assert verdict(directory("a"), file("f"), hard_link("link", target)) == (
        f"link: its target {target} is not a file that comes before it in the layer"
    )


# Capabilities and other extended attributes


@pytest.mark.parametrize(
    ("of_file", "of_link"),
    [
        (CAPABLE, NO_XATTRS),
        (NO_XATTRS, CAPABLE),
        (CAPABLE, OTHERWISE_CAPABLE),
        (CAPABLE, USER),
        (USER, CAPABLE),
    ],
)
def test_a_hard_link_with_other_capabilities_than_its_file_counts(
    of_file: Mapping[str, str], of_link: Mapping[str, str]
) -> None:
    layer = [file("a", xattrs=of_file), hard_link("b", "./a", xattrs=of_link)]
    assert verdict(*layer) == "b: it has other capabilities than its target a"


@pytest.mark.parametrize(
    ("of_file", "of_link"),
    [
        (CAPABLE, CAPABLE),
        (NO_XATTRS, NO_XATTRS),
        (USER, NO_XATTRS),
        (NO_XATTRS, USER),
        (CAPABLE | USER, CAPABLE),
        (CAPABLE, CAPABLE | USER),
    ],
)
def test_a_hard_link_with_the_capabilities_of_its_file_does_not_count(
    of_file: Mapping[str, str], of_link: Mapping[str, str]
) -> None:
    layer = [file("a", b"x", xattrs=of_file), hard_link("b", "/a", xattrs=of_link), file("c", xattrs=CAPABLE)]
    assert verdict(*layer) is None


def test_the_capabilities_of_a_hard_link_are_those_of_the_next_one_to_it() -> None:
    layer = [file("a", xattrs=CAPABLE), hard_link("b", "a", xattrs=CAPABLE)]
    assert verdict(*layer, hard_link("c", "b", xattrs=CAPABLE)) is None
    assert verdict(*layer, hard_link("c", "b")) == "c: it has other capabilities than its target b"


def test_ten_thousand_files_may_have_capabilities_and_no_more() -> None:
    capable = file("x", xattrs=CAPABLE)[:-512]
    layer = [capable + header(b"%d" % number) for number in range(MOST + 1)]
    assert verdict(*layer[:MOST]) is None
    assert verdict(*layer) == (
        f"{MOST}: it and {MOST} entries before it would have to be remembered to judge it"
    )


def test_capabilities_of_any_length_are_not_remembered() -> None:
    assert verdict(file("a", xattrs={"security.capability": "x" * 4096})) is None
    assert verdict(file("a", xattrs={"security.capability": "x" * 4097})) == (
        "a: its path or its capabilities are too long to be unpacked"
    )


@pytest.mark.parametrize("name", ["user.a", "user.overlay.opaque", "security.selinux", "security.capability"])
@pytest.mark.parametrize("make", [file, directory])
def test_extended_attributes_that_both_pulls_set_do_not_count(name: str, make: Any) -> None:
    assert verdict(make("a", xattrs={name: "value"})) is None


@pytest.mark.parametrize(
    "name", ["system.posix_acl_access", "trusted.overlay.opaque", "security.ima", "com.apple.x", "User.a"]
)
def test_other_extended_attributes_count(name: str) -> None:
    for one in (file("a", xattrs={name: "x"}), directory("a", xattrs={name: "x"})):
        reason = verdict(one)
        assert reason is not None
        assert reason.endswith(f": it has the extended attribute {name}")
    assert verdict(file("a"), hard_link("b", "a", xattrs={name: "x"})) is not None


# Symbolic links


@pytest.mark.parametrize("attributes", [USER, {"security.selinux": "x"}])
def test_a_symbolic_link_with_extended_attributes_counts(attributes: Mapping[str, str]) -> None:
    reason = "it is a symbolic link with extended attributes, which a partial pull leaves out"
    assert verdict(symlink("a", xattrs=attributes)) == f"a: {reason}"
    layer = [symlink("a"), hard_link("b", "a"), hard_link("c", "b", xattrs=attributes)]
    assert verdict(*layer) == f"c: {reason}"


@pytest.mark.parametrize(("uid", "gid"), [(7, 0), (0, 7), (7, 7)])
def test_a_symbolic_link_that_is_not_roots_counts_in_a_sticky_world_writable_directory(
    uid: int, gid: int
) -> None:
    link = symlink("tmp/a", uid=uid, gid=gid)
    for mode in (0o1777, 0o1002, 0o7777):
        assert verdict(directory("tmp", mode), file("tmp/f"), link) == (
            "tmp/a: it is a symbolic link that is not root's in a sticky, world-writable directory"
        )
        assert verdict(link, file("tmp/f"), directory("tmp", mode)) == (
            "tmp/: it is sticky and world-writable, and tmp/a in it is not root's"
        )


@pytest.mark.parametrize("mode", [0o777, 0o1775, 0o1000, 0o2777, 0o755])
def test_a_symbolic_link_that_is_not_roots_does_not_count_in_another_directory(mode: int) -> None:
    link = symlink("tmp/a", uid=7, gid=7)
    others = [directory("var", 0o1777), file("var/f", uid=7), symlink("b", uid=7)]
    layer = [directory("tmp", mode), link, *others]
    assert verdict(*layer) is None
    assert verdict(*layer[::-1]) is None


def test_a_symbolic_link_of_root_does_not_count_in_a_sticky_world_writable_directory() -> None:
    layer = [directory("tmp", 0o1777), symlink("tmp/a")]
    assert verdict(*layer) is None
    assert verdict(*layer[::-1]) is None


# Devices and FIFOs


@pytest.mark.parametrize("name", ["fifo", "dev/fifo"])
def test_a_fifo_counts(name: str) -> None:
    assert verdict(directory("dev"), entry(name, tarfile.FIFOTYPE)) == (
        f"{name}: it is a FIFO, which a partial pull leaves out"
    )


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE])
@pytest.mark.parametrize("name", ["null", "etc/null", "device/null", "etc/dev/null"])
def test_a_device_outside_of_dev_counts(name: str, kind: bytes) -> None:
    layer = [directory("etc"), directory("etc/dev"), directory("device"), device(name, kind)]
    assert verdict(*layer) == f"{name}: it is a device outside of dev/, which a partial pull leaves out"


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE])
@pytest.mark.parametrize(("major", "minor"), [(1, 3), (0, 1), (8, 0), (4095, 0), (0, 0xFFFFF)])
def test_a_device_in_dev_does_not_count(kind: bytes, major: int, minor: int) -> None:
    layer = [directory("dev"), device("./dev/a", kind, major, minor), device("/dev/b", kind, major, minor)]
    assert verdict(*layer, directory("dev/x"), device("dev/x/c", kind, major, minor)) is None


@pytest.mark.parametrize(("major", "minor"), [(0, 0), (4096, 0), (0, 0x100000), (4096, 0x100000)])
def test_the_device_0_0_counts_and_what_the_kernel_takes_for_it(major: int, minor: int) -> None:
    assert verdict(directory("dev"), device("dev/a", tarfile.CHRTYPE, major, minor)) == (
        "dev/a: it is the device 0:0, which a full pull takes for a whiteout"
    )
    # overlayfs takes only a character device for a whiteout.
    assert verdict(directory("dev"), device("dev/a", tarfile.BLKTYPE, major, minor)) is None


# Times


@pytest.mark.parametrize("time", ["-1", "-0.5", f"{LAST_SECOND}.854775808", "10000000000", "253402300800"])
def test_a_time_counts_that_a_full_pull_replaces(time: str) -> None:
    reason = "its modification time is before 1970 or after 2262"
    late = {"mtime": time}
    assert verdict(file("a", pax_headers=late)) == f"a: {reason}"
    assert verdict(file("a"), hard_link("b", "a", pax_headers=late)) == f"b: {reason}"


@pytest.mark.parametrize("time", ["0", "0.5", f"{LAST_SECOND}.854775807"])
def test_other_times_do_not_count(time: str) -> None:
    late = {"mtime": time}
    assert verdict(file("a", pax_headers=late), hard_link("b", "a", pax_headers=late)) is None


def test_times_of_directories_and_symbolic_links_do_not_count() -> None:
    early = {"mtime": "-1"}
    assert verdict(directory("a", pax_headers=early), symlink("a/b", pax_headers=early)) is None
