"""Certificates and keys for a Flower deployment: who a server is, and which node is which client.

For a real one: ``python -m fedsonar.flower.keys DIR --host superlink.example.org --clients 4``. Clients had better make
their keys themselves (``ssh-keygen -t ecdsa -b 384``) and send the public half alone.
"""

from __future__ import annotations

import argparse
import datetime
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass(frozen=True)
class Keys:
    """Where a deployment's certificates and keys are.

    Args:
        ca: The certificate that clients and the operator trust; public.
        certificate: The SuperLink's; public.
        key: The SuperLink's private key.
        nodes: Private keys of the clients' nodes; the public ones end in .pub.
    """

    ca: Path
    certificate: Path
    key: Path
    nodes: list[Path]


def make_keys(folder: Path, *, host: str, clients: int, days: int = 365) -> Keys:
    """Writes a certificate authority, a certificate for `host`, and a key a client; what is there already is kept.

    Private keys are for their owner's eyes alone (mode 0600), and the authority's is thrown away once it has signed.

    Args:
        folder: Where to write.
        host: The SuperLink's name or address, as clients dial it.
        clients: How many nodes get keys.
        days: How long certificates hold.
    """
    keys = Keys(
        folder / "ca.crt", folder / "server.crt", folder / "server.key",
        [folder / f"client-{client}" for client in range(clients)],
    )  # fmt: skip
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (keys.ca.exists() and keys.certificate.exists() and keys.key.exists()):
        _make_certificates(keys, host, days)
    for path in keys.nodes:
        if not path.exists():
            private = ec.generate_private_key(ec.SECP384R1())
            public = private.public_key().public_bytes(
                serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
            )
            path.with_suffix(".pub").write_bytes(public + b"\n")
            _write_private(path, private, serialization.PrivateFormat.OpenSSH)
    return keys


def _make_certificates(keys: Keys, host: str, days: int) -> None:
    authority, server = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP384R1())
    now = datetime.datetime.now(datetime.UTC)
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "FedSonar federation")])

    def begun(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public)
        made = made.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
        made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        own = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())
        return made.not_valid_after(now + datetime.timedelta(days=days)).add_extension(own, critical=False)

    signs = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    ca = begun(issuer, authority.public_key()).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    ca = ca.add_extension(signs, critical=True)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
    leaf = begun(subject, server.public_key()).add_extension(
        x509.SubjectAlternativeName([_named(host)]), critical=False
    )
    leaf = leaf.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    leaf = leaf.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    for path, made in ((keys.ca, ca), (keys.certificate, leaf)):
        signed = made.sign(authority, hashes.SHA384())
        path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    _write_private(keys.key, server, serialization.PrivateFormat.PKCS8)


def _named(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write_private(path: Path, key: ec.EllipticCurvePrivateKey, form: serialization.PrivateFormat) -> None:
    data = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)


def main() -> None:
    """Makes keys from the command line."""
    parser = argparse.ArgumentParser(prog="python -m fedsonar.flower.keys", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--host", required=True, metavar="NAME", help="the SuperLink's name or address")
    parser.add_argument("--clients", type=int, default=0, metavar="N", help="make keys for so many nodes too")
    parser.add_argument("--days", type=int, default=365, metavar="N", help="how long certificates hold (default: 365)")
    options = parser.parse_args()
    keys = make_keys(options.folder, host=options.host, clients=options.clients, days=options.days)
    for path in (keys.ca, keys.certificate, keys.key, *keys.nodes):
        print(path)


if __name__ == "__main__":
    main()
