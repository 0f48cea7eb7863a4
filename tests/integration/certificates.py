"""Certificates of a private CA, good ones and such as are wrong in one way each."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Authority:
    """A CA that nobody knows but who is told of `ca_file`."""

    def __init__(self, directory: Path, name: str = "ca", is_old_fashioned: bool = False) -> None:
        self._directory = directory
        self._name = name
        self.ca_file = directory / f"{name}.crt"
        config = directory / f"{name}.cnf"
        # Many CAs that companies made for themselves have no more than this.
        extensions = "basicConstraints=CA:TRUE" if is_old_fashioned else "basicConstraints=critical,CA:TRUE"
        config.write_text(f"[req]\ndistinguished_name=dn\nx509_extensions=v3\n[dn]\n[v3]\n{extensions}\n")
        self._openssl("req", "-x509", *_KEY, "-config", config.name, "-keyout", f"{name}.key",
                      "-out", self.ca_file.name, "-days", "2", "-subj", f"/CN=tests {name}")  # fmt: skip

    def server(self, san: str = "IP:127.0.0.1", *options: str, common_name: str = "x") -> ssl.SSLContext:
        """What a server needs that has a certificate for these names."""
        stem = f"{self._name}-server"
        self._openssl("req", *_KEY, "-keyout", f"{stem}.key", "-out", f"{stem}.csr",
                      "-subj", f"/CN={common_name}")  # fmt: skip
        extensions = self._directory / f"{stem}.ext"
        extensions.write_text(f"subjectAltName={san}\n" if san else "")
        dates = options or ("-days", "2")
        self._openssl("x509", "-req", "-in", f"{stem}.csr", "-CA", self.ca_file.name,
                      "-CAkey", f"{self._name}.key", "-out", f"{stem}.crt", *dates,
                      "-extfile", extensions.name)  # fmt: skip
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._directory / f"{stem}.crt", self._directory / f"{stem}.key")
        return context

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=self._directory)


EXPIRED = ("-not_before", "20200101000000Z", "-not_after", "20210101000000Z")
