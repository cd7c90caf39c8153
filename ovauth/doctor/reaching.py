"""From a name to a connection that can be trusted: DNS, TCP, TLS and its certificate."""

import socket
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import certifi
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

from ovauth.doctor.asking import TIMEOUT, Target
from ovauth.doctor.faults import Finding, NoAnswer, found, shown
from ovauth.doctor.saying import Said
from ovauth.doctor.saying import gettext_noop as _
from ovauth.rules import networks, origin

SOON: Final = 10
"""Days before its end in which a certificate should have been renewed."""

# OpenSSL's X509_V_ERR_*: the ssl module has the number and no name for it.
_NOT_YET, _EXPIRED, _SELF_SIGNED, _NO_ISSUER, _NO_ISSUER_LEAF, _WRONG_NAME, _WRONG_ADDRESS = 9, 10, 18, 20, 21, 62, 64


@dataclass
class Reached:
    """What can be spoken through, and whether it may be trusted with a key."""

    addresses: Sequence[str]
    context: ssl.SSLContext | None = None
    trusted: bool = True
    certificate: str = ""
    findings: list[Finding] = field(default_factory=list)


def reach(target: Target) -> Reached:
    """Connects once. Raises NoAnswer where nothing can be spoken with; what is wrong otherwise is in the findings."""
    reached = Reached(_resolve(target))
    is_here = origin.is_loopback_address(reached.addresses[0])
    if not is_here and all(map(networks.is_private, reached.addresses)):
        reached.findings.append(found("private-address", host=target.host, address=reached.addresses[0]))
    _connect(target).close()
    reached.findings += _dead_addresses(target, reached.addresses)
    if target.scheme == "http":
        reached.trusted = is_here
        if not is_here:
            reached.findings.append(found("not-encrypted", url=target.base, host=target.host))
        return reached
    reached.context = believing()
    try:
        certificate = _shake_hands(target, reached.context)
    except ssl.SSLCertVerificationError as error:
        reached.context, reached.trusted = believing_anybody(), False
        certificate = _shake_hands(target, reached.context)
        reached.findings.append(_why_untrusted(target, error, certificate))
    else:
        reached.findings += _doubts(target, certificate)
    until = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
    reached.certificate = Said(_("from {authority}, until {until}"), authority=_authority(certificate), until=until)
    return reached


def believing() -> ssl.SSLContext:
    """The authorities of this computer (SSL_CERT_FILE included) and the public ones."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


def believing_anybody() -> ssl.SSLContext:
    """To look further although the certificate is bad. Nothing secret is sent through it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


# ------------------------------------------------------------------ name and connection


def _resolve(target: Target) -> list[str]:
    try:
        answers = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        raise NoAnswer(found("name-unknown", host=target.host)) from None
    return list(dict.fromkeys(str(address[4][0]) for address in answers))


def _connect(target: Target) -> socket.socket:
    places = {"host": target.host, "port": str(target.port)}
    try:
        return socket.create_connection((target.host, target.port), timeout=TIMEOUT)
    except ConnectionRefusedError:
        raise NoAnswer(found("refused", **places)) from None
    except TimeoutError:
        what = Said(_("A connection to {host} port {port}"), **places)
        raise NoAnswer(found("timeout", what=what, seconds=f"{TIMEOUT:.0f}")) from None
    except OSError as error:
        raise NoAnswer(found("no-route", **places, why=error.strerror or str(error))) from None


def _dead_addresses(target: Target, addresses: Sequence[str]) -> Iterator[Finding]:
    """The first of several that does not answer, while another does. That this computer has no IPv6 is not its fault."""
    for address in addresses if len(addresses) > 1 else ():
        try:
            socket.create_connection((address, target.port), timeout=TIMEOUT / 2).close()
        except (ConnectionRefusedError, TimeoutError) as error:
            why = Said(_("refused") if isinstance(error, ConnectionRefusedError) else _("no answer"))
            yield found("one-address-dead", host=target.host, dead=address, why=why)
            return
        except OSError:
            continue


# ------------------------------------------------------------------ TLS


def _shake_hands(target: Target, context: ssl.SSLContext) -> x509.Certificate:
    """The certificate that was shown. Raises SSLCertVerificationError, or NoAnswer when there is no TLS to be had."""
    context.set_alpn_protocols(["http/1.1"])
    try:
        with _connect(target) as plain, context.wrap_socket(plain, server_hostname=target.host) as spoken:
            certificate = x509.load_der_x509_certificate(spoken.getpeercert(binary_form=True) or b"")
            has_chosen = spoken.selected_alpn_protocol() is not None
    except ssl.SSLCertVerificationError:
        raise
    except (ssl.SSLError, OSError) as error:
        if protocol := _other_protocol(target):
            raise NoAnswer(found("http1-refused", host=target.host, protocol=protocol)) from None
        why = getattr(error, "reason", None) or str(error)
        places = {"host": target.host, "port": str(target.port), "why": shown(str(why).replace("_", " ").lower())}
        raise NoAnswer(found("no-tls", **places)) from None
    if not has_chosen and (protocol := _other_protocol(target)):
        raise NoAnswer(found("http1-refused", host=target.host, protocol=protocol))
    return certificate


def _other_protocol(target: Target) -> str:
    """What it speaks when it speaks no HTTP/1.1; nothing when that is not the reason."""
    context = believing_anybody()
    context.set_alpn_protocols(["h2"])
    try:
        with _connect(target) as plain, context.wrap_socket(plain, server_hostname=target.host) as spoken:
            return "HTTP/2" if spoken.selected_alpn_protocol() == "h2" else ""
    except (OSError, NoAnswer):
        return ""


def _why_untrusted(target: Target, error: ssl.SSLCertVerificationError, certificate: x509.Certificate) -> Finding:
    places = {"host": target.host, "authority": _authority(certificate)}
    match error.verify_code:
        case code if code in (_NOT_YET, _EXPIRED):
            dates = {"since": certificate.not_valid_before_utc, "until": certificate.not_valid_after_utc}
            said = {name: f"{moment:%Y-%m-%d %H:%M} UTC" for name, moment in dates.items()}
            return found("certificate-expired", **places, **said, now=f"{datetime.now(UTC):%Y-%m-%d %H:%M}")
        case code if code == _SELF_SIGNED:
            return found("certificate-self-signed", **places)
        case code if code in (_WRONG_NAME, _WRONG_ADDRESS):
            return found("certificate-wrong-name", **places, names=", ".join(_names(certificate)) or Said(_("nobody")))
        case code if code in (_NO_ISSUER, _NO_ISSUER_LEAF) and _tells_where_its_issuer_is(certificate):
            return found("certificate-chain-incomplete", **places)
        case _:
            return found("certificate-unknown-authority", **places)


def _doubts(target: Target, certificate: x509.Certificate) -> Iterator[Finding]:
    """What may be wrong with a certificate that this computer trusts."""
    until = certificate.not_valid_after_utc
    days = (until - datetime.now(UTC)).days
    # Some live for a day and are renewed every few hours: what counts is the part of its life that is left.
    life = (until - certificate.not_valid_before_utc).days
    if days < min(SOON, life / 4):
        yield found("certificate-ends-soon", host=target.host, days=str(days), until=f"{until:%Y-%m-%d}")
    public = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    public.load_verify_locations(certifi.where())
    try:
        _shake_hands(target, public)
    except ssl.SSLCertVerificationError:
        yield found("certificate-private-authority", host=target.host, authority=_authority(certificate))


def _authority(certificate: x509.Certificate) -> str:
    name = certificate.issuer
    told: list[Any] = [
        attribute.value
        for kind in (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME)
        for attribute in name.get_attributes_for_oid(kind)
    ]
    return shown(" ".join(map(str, told)), 60) or Said(_("nobody named"))


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    known = [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
    return [shown(name, 60) for name in known[:5]]


def _tells_where_its_issuer_is(certificate: x509.Certificate) -> bool:
    """Those of public authorities do, since servers forget to send the one in between."""
    try:
        told = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    return any(described.access_method == AuthorityInformationAccessOID.CA_ISSUERS for described in told)
