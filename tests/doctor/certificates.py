"""Certificates as bad as a test wants them."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID


@dataclass(frozen=True)
class Certificate:
    """A certificate with its key, in one file each; `chain` is what a server shows."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    file: Path
    chain: Path

    def context(self) -> ssl.SSLContext:
        """What a server shows with it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain)
        return context


def make(
    folder: Path,
    name: str = "localhost",
    *,
    by: Certificate | None = None,
    is_authority: bool = False,
    days: tuple[float, float] = (-1, 90),
    tells_issuer: bool = False,
    shows: tuple[Certificate, ...] = (),
) -> Certificate:
    """Signed by `by` or by itself, valid from and until so many days from now; `shows` are those that are sent with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
    )
    if is_authority:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    else:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    if tells_issuer:
        where = x509.UniformResourceIdentifier("http://issuer.example/ca.der")
        told = x509.AuthorityInformationAccess([x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, where)])
        builder = builder.add_extension(told, critical=False)
    certificate = builder.sign(by.key if by else key, hashes.SHA256())
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    file, chain = folder / f"{id(key)}.pem", folder / f"{id(key)}-chain.pem"
    file.write_bytes(pem)
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    chain.write_bytes(secret + pem + b"".join(shown.file.read_bytes() for shown in shows))
    return Certificate(certificate, key, file, chain)
