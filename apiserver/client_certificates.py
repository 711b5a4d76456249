"""Certificates of clients: the authority that they are checked by, and those that are made here.

The authority is another one than that of the server's certificate (`apiserver.tls`), so that nothing which is good for the one is
good for the other. It lives in the data folder, unless the settings name another.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from apiserver.config import StartError
from apiserver.datadir import write_private
from apiserver.kubeconfig import ClientPair
from apiserver.sections import Authentication
from apiserver.tls import BACKDATE, RENEW_BEFORE, authority, key_usage, private_pem, read_certificate

STEM = "client-ca"
"""The files of the authority, without their endings."""
ADMIN_LIFE = timedelta(days=365)
LONGEST_NAME = 64
"""Characters of a name in a certificate (X.520, upper bounds)."""


def authority_file(folder: Path, settings: Authentication, now: datetime) -> Path | None:
    """What certificates of clients are checked by (PEM); None: clients show none. Raises StartError."""
    if not settings.client_certificates:
        return None
    if settings.client_ca is not None:
        read_certificate(settings.client_ca, "authentication.client_ca names a PEM file with the certificates of authorities")
        return settings.client_ca
    authority(folder, now, STEM)
    return folder / f"{STEM}.crt"


def issue(folder: Path, user: str, groups: tuple[str, ...], life: timedelta, now: datetime) -> ClientPair:
    """A certificate for a user, of the authority in the folder; it ends no later than that. Raises StartError."""
    for name in (user, *groups):
        if not name or len(name) > LONGEST_NAME or not name.isprintable():
            problem = f"{name!r} cannot be in a certificate"
            raise StartError(problem, f"names have 1 to {LONGEST_NAME} printable characters", exit_code=2)
    signer, signer_key = authority(folder, now, STEM)
    key = ec.generate_private_key(ec.SECP256R1())
    organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    subject = x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, user)])
    of_signer = signer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    ends = min(now + life, signer.not_valid_after_utc)
    serial = x509.random_serial_number()
    certificate = (
        x509.CertificateBuilder(signer.subject, subject, key.public_key(), serial, min(now, ends) - BACKDATE, ends)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(of_signer), critical=False)
        .sign(signer_key, hashes.SHA256())
    )
    return ClientPair(certificate.public_bytes(Encoding.PEM), private_pem(key))


def admin_pair(folder: Path, settings: Authentication, groups: tuple[str, ...], now: datetime) -> ClientPair:
    """The admin's certificate in `admin.crt` and `admin.key`: made at a start that finds none, or less than 30 days left of it.

    Raises StartError: it cannot be made here.
    """
    if not settings.client_certificates or settings.client_ca is not None:
        raise StartError(
            "authentication.admin_credential is 'certificate', and this server has no authority of its own for clients",
            "leave out authentication.client_ca, with authentication.client_certificates = true, or let the admin show the token",
            exit_code=2,
        )
    crt, key = folder / "admin.crt", folder / "admin.key"
    signer, _ = authority(folder, now, STEM)
    try:
        kept = ClientPair(crt.read_bytes(), key.read_bytes())
        if _is_good(kept, signer, groups, now):
            return kept
    except (OSError, ValueError, TypeError, InvalidSignature):
        pass  # it is made anew
    made = issue(folder, "admin", groups, ADMIN_LIFE, now)
    write_private(key, made.key)
    write_private(crt, made.certificate)
    return made


def _is_good(pair: ClientPair, signer: x509.Certificate, groups: tuple[str, ...], now: datetime) -> bool:
    certificate = x509.load_pem_x509_certificate(pair.certificate)
    certificate.verify_directly_issued_by(signer)
    named = tuple(each.value for each in certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))
    fits = load_pem_private_key(pair.key, None).public_key() == certificate.public_key() and named == groups
    return fits and certificate.not_valid_before_utc <= now and certificate.not_valid_after_utc - now >= RENEW_BEFORE
