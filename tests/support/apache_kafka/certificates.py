"""Certificates of a test authority, for a server and for a client."""

from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files: the authority's certificate; key and chain of the server; both of a client."""

    authority: Path
    server: Path
    client_chain: Path
    client_key: Path


def made_certificates(directory: Path) -> Certificates:
    """Create an authority, and the certificates of 127.0.0.1 and of one client."""
    files = Certificates(*(directory / name for name in ("ca.pem", "server.pem", "crt", "key")))
    authority = trustme.CA()
    server, client = authority.issue_cert("127.0.0.1"), authority.issue_cert("client@example.com")
    authority.cert_pem.write_to_path(files.authority)
    files.server.write_bytes(_pkcs8(server) + _chain(server))
    files.client_chain.write_bytes(_chain(client))
    files.client_key.write_bytes(_pkcs8(client))
    return files


def _chain(cert: trustme.LeafCert) -> bytes:
    return b"".join(each.bytes() for each in cert.cert_chain_pems)


def _pkcs8(cert: trustme.LeafCert) -> bytes:
    """The key in the format that Java reads."""
    key = load_pem_private_key(cert.private_key_pem.bytes(), password=None)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
