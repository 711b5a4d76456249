"""The certificate that a client has shown on its connection, read once. Whether its authority is ours, TLS has checked."""

from __future__ import annotations

import ssl
from hashlib import sha256
from typing import Any

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from admission.identity import Certificate


def peer_certificate(transport: Any) -> Certificate | None:
    """What the client's certificate says; None when it has shown none, or when nobody has checked it."""
    session = transport.get_extra_info("ssl_object")
    if session is None or session.context.verify_mode is ssl.CERT_NONE:
        return None
    der = session.getpeercert(binary_form=True)
    return None if der is None else read(der)


def read(der: bytes) -> Certificate:
    """What a certificate says. It names nobody unless it has one common name and is for clients, which has to be written in it."""
    fingerprint = sha256(der).hexdigest()
    try:
        certificate = x509.load_der_x509_certificate(der)
        names = _texts(certificate.subject, NameOID.COMMON_NAME)
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        organizations = tuple(dict.fromkeys(_texts(certificate.subject, NameOID.ORGANIZATION_NAME)))
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return Certificate("", fingerprint=fingerprint)
    sound = len(names) == 1 and all(text and text.isprintable() for text in (*names, *organizations))
    return Certificate(
        names[0] if sound and ExtendedKeyUsageOID.CLIENT_AUTH in usage else "",
        organizations,
        fingerprint,
        certificate.not_valid_before_utc.timestamp(),
        certificate.not_valid_after_utc.timestamp(),
    )


def _texts(name: x509.Name, oid: x509.ObjectIdentifier) -> list[str]:
    return [each.value for each in name.get_attributes_for_oid(oid) if isinstance(each.value, str)]
