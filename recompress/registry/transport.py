"""HTTP below the registry's API: certificates, proxies, tries, and what a failure means.

skopeo has an HTTP client of its own. Where Go's and Python's habits differ (proxies, odd
certificates), this one follows Go's, so that one never succeeds where the other fails.
"""

from __future__ import annotations

import base64
import email.utils
import functools
import ipaddress
import json
import logging
import re
import ssl
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TypeVar

import httpx
import tenacity

from recompress import __version__
from recompress.errors import (
    NotFound,
    RecompressError,
    Refused,
    Unavailable,
    UsageError,
    Vanished,
    VerificationFailed,
)
from recompress.reference import Repository

log = logging.getLogger(__name__)

MAX_ERROR_BYTES = 64 * 1024
_CONNECT_SECONDS = 15.0
_SILENCE_SECONDS = 60.0
_LONGEST_BACKOFF_SECONDS = 30.0
_LONGEST_RETRY_AFTER_SECONDS = 600.0
_TEMPORARY = frozenset({408, 425, 429})
_NEVER_IMPLEMENTED = frozenset({501, 505})
_RATE_LIMIT = re.compile(rb"rate[ _-]?limit|rate exceeded|too[ _-]?many[ _-]?requests|throttl", re.IGNORECASE)
_NAME_UNKNOWN = "NAME_UNKNOWN"
_MEMBER_UNKNOWN = ("MANIFEST_BLOB_UNKNOWN", "MANIFEST_UNKNOWN", "BLOB_UNKNOWN")
_DIGEST_INVALID = "DIGEST_INVALID"
"""Digests are made of the bytes here, so the bytes were damaged on the way, or the registry read a link
to a layer that another client was writing at that moment (CNCF Distribution, filesystem driver)."""

_NO_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----([^-]*)(-----END CERTIFICATE-----)?")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Tls:
    """How to speak to registries: certificates to trust besides the system's, or not to look."""

    verify: bool = True
    ca_files: tuple[Path, ...] = ()


class Bounded(httpx.SyncByteStream):
    """The beginning of a body that is read to its end only because it is short."""

    def __init__(self, stream: httpx.SyncByteStream, limit: int) -> None:
        self._stream = stream
        self._limit = limit

    def __iter__(self) -> Iterator[bytes]:
        left = self._limit
        for chunk in self._stream:
            yield chunk[:left]
            left -= len(chunk)
            if left <= 0:
                return

    def close(self) -> None:
        """Let go of the connection."""
        self._stream.close()


def registry_url(scheme: str, host: str) -> httpx.URL:
    """Where a registry is. Raises UsageError where its name is one that no host can have."""
    try:
        url = httpx.URL(f"{scheme}://{host}")
        _check_host(url)
    except httpx.InvalidURL:
        raise UsageError(f"{host} is not the address of a registry: its host name is not valid") from None
    return url


def http_client(host: str, tls: Tls, auth: httpx.Auth) -> httpx.Client:
    """A client for one registry. Raises UsageError for a proxy or a CA file that cannot be used."""
    context = ssl_context(tls)
    try:
        _check_proxies()
        return httpx.Client(
            auth=auth,
            verify=context,
            follow_redirects=True,
            timeout=httpx.Timeout(_SILENCE_SECONDS, connect=_CONNECT_SECONDS, pool=None),
            # A blob must arrive as it is stored: no transfer may be packed or unpacked on the way.
            headers={"Accept-Encoding": "identity", "User-Agent": f"recompress/{__version__}"},
            # httpx itself reads the bodies of redirects and challenges to their ends.
            event_hooks={"response": [_bound_all_but_content]},
            mounts=_without_proxy(host),
        )
    except (ImportError, ValueError, httpx.InvalidURL):
        # The message does not say what is wrong with it: that may be a part of the password.
        raise UsageError(
            "the proxy that the environment names cannot be used: write it as "
            "http://user:password@host:port, with %2F for a / in the password, %23 for a #, %40 for an @"
        ) from None


def _check_proxies() -> None:
    for scheme, proxy in urllib.request.getproxies().items():
        if scheme in ("http", "https", "all"):
            if _NO_ESCAPE.search(proxy):
                # Go passes over such a proxy, without a word.
                raise ValueError
            _check_host(httpx.URL(proxy if "://" in proxy else f"http://{proxy}"))


def _check_host(url: httpx.URL) -> None:
    """Raise InvalidURL for a name that httpx takes, and that is a UnicodeError later on."""
    with _unicode_error_as_invalid_url():
        # Python's resolver does this first, and raises for a label of more than 63 characters.
        url.raw_host.decode("ascii").encode("idna")
        # A name that begins with xn-- is decoded where httpx asks for it.
        url.host.isascii()


@contextmanager
def streamed(
    client: httpx.Client,
    method: str,
    url: str | httpx.URL,
    content: bytes | None,
    headers: dict[str, str] | None,
) -> Iterator[httpx.Response]:
    """The answer to a request. Raises what httpx does, and InvalidURL for names that no host can have."""
    with ExitStack() as stack:
        with _unicode_error_as_invalid_url():
            # A redirect, or a token server, can have such a name as well.
            response = stack.enter_context(client.stream(method, url, content=content, headers=headers))
        yield response


@contextmanager
def _unicode_error_as_invalid_url() -> Iterator[None]:
    try:
        yield
    except UnicodeError:
        raise httpx.InvalidURL("the host name in it is not valid") from None


def _bound_all_but_content(response: httpx.Response) -> None:
    if response.status_code >= 300 and isinstance(response.stream, httpx.SyncByteStream):
        response.stream = Bounded(response.stream, MAX_ERROR_BYTES)


def _without_proxy(host: str) -> dict[str, None]:
    """Where Go would use no proxy and httpx would: this machine, and networks in NO_PROXY."""
    name = httpx.URL(f"https://{host}").host
    direct = {f"all://[{name}]" if ":" in name else f"all://{name}": None}
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return direct if name == "localhost" else {}
    for excepted in urllib.request.getproxies().get("no", "").split(","):
        try:
            if "/" in excepted and address in ipaddress.ip_network(excepted.strip(), strict=False):
                return direct
        except ValueError:
            continue
    return direct if address.is_loopback else {}


@functools.cache
def ssl_context(tls: Tls) -> ssl.SSLContext:
    """The certificates to trust, read once: some 150 of them take time and memory.

    Raises UsageError for a CA file that cannot be read.
    """
    context = ssl.create_default_context()
    # Go takes a private CA's certificate as it is; Python 3.13 began to ask for extensions that
    # many do not have. An intermediate certificate can be one to trust. Neither looks at common names.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.hostname_checks_common_name = False
    for file in tls.ca_files:
        _trust(context, file)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _trust(context: ssl.SSLContext, file: Path) -> None:
    """Trust the certificates in a file, and warn of anything else in it: Go, and so skopeo, skips that."""
    try:
        blocks = _CERTIFICATE.findall(file.read_bytes())
    except OSError as error:
        raise UsageError(f"the CA file {file} cannot be read: {error.strerror}") from None
    if not blocks:
        log.warning("the CA file %s holds no certificates", file)
    for number, (block, end) in enumerate(blocks, start=1):
        try:
            if not end:
                raise ValueError
            context.load_verify_locations(cadata=base64.b64decode(b"".join(block.split()), validate=True))
        except (ValueError, ssl.SSLError):
            log.warning("certificate %d in the CA file %s cannot be read and is left out", number, file)


def retrying(attempts: int, operation: Callable[[], T]) -> T:
    """Call `operation`, and again after temporary failures, `attempts` times in all.

    Waits between tries: exponential, with jitter, Retry-After obeyed. An error that leaves here
    is not temporary any more, so that a caller that retries as well does not start all the tries again.
    """
    backoff = tenacity.wait_random_exponential(multiplier=0.5, max=_LONGEST_BACKOFF_SECONDS)

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, RecompressError) else None
        return max(backoff(state), min(asked or 0.0, _LONGEST_RETRY_AFTER_SECONDS))

    def say(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        wait_seconds = state.next_action.sleep if state.next_action else 0.0
        log.warning("%s; try %d of %d in %.1f s", error, state.attempt_number + 1, attempts, wait_seconds)

    tries = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(attempts),
        wait=wait,
        retry=_is_worth_another,
        before_sleep=say,
        reraise=True,
    )
    try:
        return tries(operation)
    except RecompressError as error:
        error.temporary = False
        if isinstance(error, Refused):
            error.once_more = False
        raise


def _is_worth_another(state: tenacity.RetryCallState) -> bool:
    match state.outcome.exception() if state.outcome else None:
        case Refused(once_more=True):
            return state.attempt_number == 1
        case RecompressError(temporary=is_temporary):
            return is_temporary
    return False


def redacted(url: httpx.URL) -> str:
    """A URL without what may be secret in it: user information, query and fragment."""
    return str(url.copy_with(query=None, fragment=None, username=None, password=None))


def is_temporary(status: int) -> bool:
    """Whether trying again can help after an answer with this status."""
    return status in _TEMPORARY or (status >= 500 and status not in _NEVER_IMPLEMENTED)


def answer_error(method: str, response: httpx.Response, repository: Repository) -> RecompressError:
    """What an answer with an error status means."""
    status = response.status_code
    body = _error_body(response)
    message = _registry_message(body)
    request = f"{method} {redacted(response.url)}: {status} {message}".rstrip()
    is_rate_limit = status == 403 and _speaks_of_a_rate_limit(response, body)
    if status in (401, 403) and not is_rate_limit:
        return Refused(
            f"the registry refused access to {repository}: check the credentials for it ({request})",
            # Some do so for a moment, to a token that they gave, while they make a new repository.
            once_more=status == 401 and _has_token(response.request),
        )
    if status == 412 and method in ("GET", "HEAD"):
        # Harbor, until an image has been scanned: PROJECTPOLICYVIOLATION.
        return Refused(
            f"a policy of the registry keeps an image in {repository} from being pulled: where it wants a "
            "scan first, wait for the scan and raise --attempts, or exempt this account or this project from "
            f"the policy ({request})",
            temporary=True,
            retry_after=_retry_after(response),
        )
    if _lacks_a_member(method, status, response.url, message):
        # The clients here push no manifest whose members they have not pushed or read before.
        return Vanished(
            f"the registry does not accept a manifest for {repository}: something that the "
            f"manifest names is missing there ({request})",
            temporary=True,
        )
    if status == 404:
        return NotFound(f"the registry does not have what was asked for ({request})")
    if status == 416:
        return VerificationFailed(f"a blob is shorter than its descriptor says ({request})")
    return Unavailable(
        f"the registry failed ({request})",
        temporary=is_temporary(status) or is_rate_limit or message.startswith(_DIGEST_INVALID),
        retry_after=_retry_after(response),
    )


def _lacks_a_member(method: str, status: int, url: httpx.URL, message: str) -> bool:
    """Whether a manifest is not taken because the registry does not have all that it names.

    The specification has 404 for a blob; CNCF Distribution has 400 with MANIFEST_BLOB_UNKNOWN.
    """
    if method != "PUT" or "/manifests/" not in url.path or message.startswith(_NAME_UNKNOWN):
        return False
    return status == 404 or message.startswith(_MEMBER_UNKNOWN)


def _has_token(request: httpx.Request) -> bool:
    authorization: str = request.headers.get("Authorization", "")
    return authorization.startswith("Bearer ")


def _error_body(response: httpx.Response) -> bytes:
    body = bytearray()
    with suppress(httpx.HTTPError):
        for chunk in response.iter_raw(4096):
            body += chunk
            if len(body) >= MAX_ERROR_BYTES:
                break
    return bytes(body)


def _speaks_of_a_rate_limit(response: httpx.Response, body: bytes) -> bool:
    """Whether a 403 stands for a 429.

    GitHub answers so, with Retry-After, with X-RateLimit-Remaining: 0, or in the message alone
    (docs.github.com, "Rate limits for the REST API"), and so do proxies and firewalls.
    """
    left = (response.headers.get(name, "") for name in ("X-RateLimit-Remaining", "RateLimit-Remaining"))
    return (
        "Retry-After" in response.headers
        or any(value.partition(";")[0].strip() == "0" for value in left)
        or _RATE_LIMIT.search(body) is not None
    )


def _registry_message(body: bytes) -> str:
    """The code and message of the specification's error body, where there is one."""
    try:
        first = json.loads(body)["errors"][0]
        text = f"{first.get('code', '')} {first.get('message', '')}"
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return ""
    return re.sub(r"[^ -~]+", " ", text)[:300].strip()


def _retry_after(response: httpx.Response) -> float | None:
    """The Retry-After header in seconds; RFC 9110 allows a number or a date."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def transport_error(error: httpx.HTTPError) -> Unavailable:
    """What a request without an answer, or with half of one, means."""
    # Not always the one that was sent first: a redirect or a token server can be what fails.
    where = f"{error.request.method} {redacted(error.request.url)}"
    if isinstance(error, httpx.ConnectError) and (tls := _tls_cause(error)) is not None:
        reason = getattr(tls, "verify_message", None) or tls.reason or str(tls)
        return Unavailable(f"no TLS connection to the registry: {reason} ({where}); {_advice(tls)}")
    if isinstance(error, httpx.LocalProtocolError):
        # Its text quotes the header that is wrong, and that may be the one with the credentials.
        return Unavailable(f"the request contains something that HTTP cannot send ({where})")
    reason = str(error) or type(error).__name__
    return Unavailable(
        f"the registry did not answer: {reason} ({where})",
        temporary=isinstance(error, httpx.TransportError)
        and not isinstance(error, httpx.UnsupportedProtocol),
    )


class _X509Error(IntEnum):
    """OpenSSL's X509_V_ERR_… (x509_vfy.h): Python has these numbers, but no names for them."""

    CERT_NOT_YET_VALID = 9
    CERT_HAS_EXPIRED = 10
    DEPTH_ZERO_SELF_SIGNED_CERT = 18
    SELF_SIGNED_CERT_IN_CHAIN = 19
    UNABLE_TO_GET_ISSUER_CERT_LOCALLY = 20
    UNABLE_TO_VERIFY_LEAF_SIGNATURE = 21
    HOSTNAME_MISMATCH = 62
    IP_ADDRESS_MISMATCH = 64


def _advice(error: ssl.SSLError) -> str:
    match getattr(error, "verify_code", None):
        case (
            _X509Error.DEPTH_ZERO_SELF_SIGNED_CERT
            | _X509Error.SELF_SIGNED_CERT_IN_CHAIN
            | _X509Error.UNABLE_TO_GET_ISSUER_CERT_LOCALLY
            | _X509Error.UNABLE_TO_VERIFY_LEAF_SIGNATURE
        ):
            return "if its certificate is from a private CA, use --ca-file"
        case _X509Error.HOSTNAME_MISMATCH | _X509Error.IP_ADDRESS_MISMATCH:
            return "use the name that its certificate is for, or give it one for this name"
        case _X509Error.CERT_NOT_YET_VALID | _X509Error.CERT_HAS_EXPIRED:
            return "renew its certificate, or set the clock of this machine"
        case None:
            return "if it is a plain HTTP registry for tests, use --no-tls-verify"
        case _:
            return "its certificate has to be replaced"


def _tls_cause(error: BaseException | None) -> ssl.SSLError | None:
    while error is not None:
        if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
            return error
        error = error.__cause__ or error.__context__
    return None
