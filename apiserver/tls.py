"""The server's certificate: the user's own, or one that is made and renewed here.

Made here means: a certificate authority that lives ten years in the data folder, and a server certificate of a year, issued anew
at a start that finds less than 30 days left, another list of names, or a pair that does not fit. The authority stays, so that
every kubeconfig handed out stays good. Keys are ECDSA on P-256. The certificates carry what strict checkers ask for (RFC 5280:
basic constraints, key usage, subject and authority key identifiers), so Go, OpenSSL with X509_STRICT and Python accept them.
"""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from apiserver.config import StartError
from apiserver.datadir import write_private
from apiserver.sections import Tls

CA_LIFE = timedelta(days=3650)
SERVER_LIFE = timedelta(days=365)
RENEW_BEFORE = timedelta(days=30)
BACKDATE = timedelta(hours=1)  # clocks of clients may be behind ours
ALWAYS = ("localhost", "127.0.0.1", "::1")


class Certificate(NamedTuple):
    """Files to serve with, the authority that clients check them by (PEM; empty:

    the one their system knows), and the last moment.
    """

    cert_file: Path
    key_file: Path
    ca_pem: bytes
    not_after: datetime


def certificate(folder: Path, tls: Tls, *, host: str, hostname: str, now: datetime) -> Certificate:
    """What to serve with. `host` is the address listened on, `hostname` the machine's name, `now` is in UTC.

    StartError: the user's files do not hold, or those in the data folder cannot be used.
    """
    if tls.cert and tls.key:
        return _supplied(tls.cert, tls.key, tls.ca, now)
    names = server_names(host, hostname, tls.names)
    signer, signer_key = authority(folder, now)
    issued = _kept(folder, signer, names, now) or _issue(folder, signer, signer_key, names, now)
    pem = signer.public_bytes(Encoding.PEM)
    return Certificate(folder / "server.crt", folder / "server.key", pem, issued.not_valid_after_utc)


def server_names(host: str, hostname: str, extra: Iterable[str]) -> tuple[str, ...]:
    """What the certificate is good for, sorted.

    What cannot be in a certificate is left out, except that a wrong extra is an error.
    """
    names = {*ALWAYS}
    for name in (host, hostname):
        if _general_name(name) is not None and not _is_wildcard(name):
            names.add(_normal(name))
    for name in extra:
        if _general_name(name) is None:
            raise StartError(f"tls.names: {name!r} is neither a host name nor an address", exit_code=2)
        names.add(_normal(name))
    return tuple(sorted(names))


def authority(folder: Path, now: datetime, stem: str = "ca") -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """The authority in `<stem>.crt` and `<stem>.key` of the folder; made when there is none, or when it ends before what it signs
    would. Raises StartError when it cannot be used."""
    crt, key = folder / f"{stem}.crt", folder / f"{stem}.key"
    hint = f"restore it from a backup, or remove {crt} and {key}: a new authority is made, and clients need the new kubeconfig"
    if not crt.exists():  # the key is written first, so that a certificate always has one
        return _make_authority(folder, now, stem)
    cert, private = read_certificate(crt, hint), _read_key(key, hint)
    if not isinstance(private, ec.EllipticCurvePrivateKey) or cert.public_key() != private.public_key():
        raise StartError(f"{key} is not the key of {crt}", hint)
    if cert.not_valid_after_utc - now < RENEW_BEFORE:
        return _make_authority(folder, now, stem)
    return cert, private


def _make_authority(folder: Path, now: datetime, stem: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"skep-{stem}-{serial:x}"[:32])])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    cert = (
        x509.CertificateBuilder(name, name, key.public_key(), serial, now - BACKDATE, now + CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(authority=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, hashes.SHA256())
    )
    write_private(folder / f"{stem}.key", private_pem(key))
    write_private(folder / f"{stem}.crt", cert.public_bytes(Encoding.PEM))
    return cert, key


def _issue(
    folder: Path, signer: x509.Certificate, signer_key: ec.EllipticCurvePrivateKey, names: Sequence[str], now: datetime
) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "skep")])
    ends = min(now + SERVER_LIFE, signer.not_valid_after_utc)
    of_authority = signer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    general = [found for name in names if (found := _general_name(name)) is not None]
    cert = (
        x509.CertificateBuilder(signer.subject, subject, key.public_key(), x509.random_serial_number(), now - BACKDATE, ends)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(general), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(of_authority), critical=False)
        .sign(signer_key, hashes.SHA256())
    )
    write_private(folder / "server.key", private_pem(key))
    write_private(folder / "server.crt", cert.public_bytes(Encoding.PEM))
    return cert


def _kept(folder: Path, signer: x509.Certificate, names: Sequence[str], now: datetime) -> x509.Certificate | None:
    """The certificate of the last start, if it is still good for everything that is asked of it now."""
    try:
        cert = x509.load_pem_x509_certificate((folder / "server.crt").read_bytes())
        key = load_pem_private_key((folder / "server.key").read_bytes(), None)
        cert.verify_directly_issued_by(signer)
        held = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return None
    fits = key.public_key() == cert.public_key() and set(held) == {_general_name(name) for name in names}
    current = cert.not_valid_before_utc <= now and cert.not_valid_after_utc - now >= RENEW_BEFORE
    return cert if fits and current else None


def _supplied(cert_file: Path, key_file: Path, ca_file: Path | None, now: datetime) -> Certificate:
    """The user's own files, checked as far as a client would."""
    cert = read_certificate(cert_file, "tls.cert names a PEM file with the server's certificate first")
    key = _read_key(key_file, "tls.key names a PEM file with an unencrypted private key")
    if key.public_key() != cert.public_key():
        raise StartError(f"{key_file} is not the key of {cert_file}", "tls.cert and tls.key must be of one pair", exit_code=2)
    if cert.not_valid_after_utc <= now:
        raise StartError(f"the certificate {cert_file} expired on {cert.not_valid_after_utc:%Y-%m-%d}", "renew it", exit_code=2)
    if cert.not_valid_before_utc > now:
        raise StartError(
            f"the certificate {cert_file} is not valid before {cert.not_valid_before_utc:%Y-%m-%d %H:%M} UTC", exit_code=2
        )
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert_file, key_file)
    except (ssl.SSLError, OSError) as error:
        raise StartError(f"{cert_file} and {key_file} cannot be served with: {error}", exit_code=2) from error
    pem = b""
    if ca_file:
        read_certificate(ca_file, "tls.ca names a PEM file with the certificates of authorities")
        pem = ca_file.read_bytes()
    return Certificate(cert_file, key_file, pem, cert.not_valid_after_utc)


def read_certificate(path: Path, hint: str) -> x509.Certificate:
    """The first certificate of a PEM file. Raises StartError, with the hint."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise StartError(f"cannot read the certificate {path}: {error.strerror}", hint, exit_code=2) from error
    except ValueError as error:
        raise StartError(f"{path} is not a certificate in PEM form", hint, exit_code=2) from error


def _read_key(path: Path, hint: str) -> PrivateKeyTypes:
    try:
        return load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise StartError(f"cannot read the private key {path}: {error.strerror}", hint, exit_code=2) from error
    except TypeError as error:
        raise StartError(f"the private key {path} has a pass phrase", hint, exit_code=2) from error
    except ValueError as error:
        raise StartError(f"{path} is not a private key in PEM form", hint, exit_code=2) from error


def key_usage(*, authority: bool) -> x509.KeyUsage:
    """What the key of a certificate is for: signing certificates, or proving who one is."""
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key as a file holds it."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _general_name(name: str) -> x509.GeneralName | None:
    """A name as a certificate holds it (RFC 5280, 4.2.1.6); None when it is neither an address nor a host name."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name.partition("%")[0]))
    except ValueError:
        label = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
        host = rf"(\*\.)?{label}(\.{label})*"
        return x509.DNSName(name.lower()) if len(name) <= 253 and re.fullmatch(host, name.lower()) else None


def _normal(name: str) -> str:
    """One spelling for each name, so that the same list is the same certificate."""
    try:
        return str(ipaddress.ip_address(name.partition("%")[0]))
    except ValueError:
        return name.lower()


def _is_wildcard(host: str) -> bool:
    """Whether an address means every interface, and so names none."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_unspecified
    except ValueError:
        return False
