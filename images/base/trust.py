"""Hands the certificates that the host trusts and Debian does not to update-ca-certificates, so that they last."""

import re
import sys
from pathlib import Path

PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def main() -> None:
    known = {"".join(c.split()) for c in PEM.findall(Path("/etc/ssl/certs/ca-certificates.crt").read_text())}
    extra = [c for c in PEM.findall(Path(sys.argv[1]).read_text()) if "".join(c.split()) not in known]
    for number, certificate in enumerate(extra):
        Path(f"/usr/local/share/ca-certificates/host-{number}.crt").write_text(certificate + "\n")


main()
