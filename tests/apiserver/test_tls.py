"""Certificates and kubeconfig, tried by those who check them: OpenSSL in strict mode, kubectl, the Kubernetes client."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import stat
import subprocess
import threading
from base64 import b64decode
from datetime import UTC, datetime, timedelta
from pathlib import Path

import kubernetes.config
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat, load_pem_private_key

from apiserver import kubeconfig
from apiserver.config import Address, StartError
from apiserver.sections import Tls
from apiserver.tls import Certificate, certificate, server_names

NOW = datetime.now(UTC).replace(microsecond=0)
STRICT = ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN


def make(folder: Path, *, tls: Tls | None = None, host: str = "127.0.0.1", now: datetime = NOW) -> Certificate:
    return certificate(folder, tls or Tls(), host=host, hostname="buzz", now=now)


def server(made: Certificate) -> x509.Certificate:
    return x509.load_pem_x509_certificate(made.cert_file.read_bytes())


def handshake(made: Certificate, *, name: str, ca: bytes | None = None) -> str:
    """A real handshake over the loopback, checked as strictly as OpenSSL can; the protocol that was agreed on."""
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(made.cert_file, made.key_file)
    asking = ssl.create_default_context(cadata=(ca or made.ca_pem).decode())
    asking.verify_flags |= STRICT
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                try:
                    served.wrap_socket(connection, server_side=True).close()
                except OSError:
                    return  # the client has refused, which is for the client to tell

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            with socket.create_connection(listener.getsockname()) as plain, asking.wrap_socket(plain, server_hostname=name) as safe:
                return str(safe.version())
        finally:
            thread.join()


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1", "buzz", "10.1.2.3", "api.example.com"])
def test_a_strict_client_accepts_the_certificate_under_every_name(tmp_path: Path, name: str) -> None:
    made = make(tmp_path, host="10.1.2.3", tls=Tls(names=("api.example.com",)))
    assert handshake(made, name=name) == "TLSv1.3"


def test_a_client_refuses_another_name_and_another_authority(tmp_path: Path) -> None:
    made = make(tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(made, name="elsewhere.example.com")
    (tmp_path / "other").mkdir()
    with pytest.raises(ssl.SSLCertVerificationError, match=r"self-signed|unable to get local issuer|signature failure"):
        handshake(made, name="localhost", ca=make(tmp_path / "other").ca_pem)


def test_openssl_finds_the_chain_good_for_a_server_and_the_authority_good_for_certificates(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    assert openssl is not None, "openssl must be on the PATH"
    make(tmp_path)
    command = [openssl, "verify", "-x509_strict", "-check_ss_sig", "-purpose", "sslserver", "-verify_hostname", "localhost"]
    done = subprocess.run([*command, "-CAfile", "ca.crt", "server.crt"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "server.crt: OK\n", done.stderr


def test_keys_and_certificates_are_private_files(tmp_path: Path) -> None:
    make(tmp_path)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("ca.crt", "ca.key", "server.crt", "server.key"), 0o600)


def test_a_certificate_lives_a_year_and_its_authority_ten(tmp_path: Path) -> None:
    made = make(tmp_path)
    assert made.not_after == NOW + timedelta(days=365)
    assert x509.load_pem_x509_certificate(made.ca_pem).not_valid_after_utc == NOW + timedelta(days=3650)


def test_a_start_keeps_what_is_good(tmp_path: Path) -> None:
    first = make(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert make(tmp_path, now=NOW + timedelta(days=334)) == first
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_start_with_less_than_thirty_days_left_renews_under_the_same_authority(tmp_path: Path) -> None:
    first = make(tmp_path)
    later = NOW + timedelta(days=336)
    second = make(tmp_path, now=later)
    assert second.ca_pem == first.ca_pem
    assert second.not_after == later + timedelta(days=365)


@pytest.mark.parametrize("damage", ["names", "other key", "no certificate", "half a certificate", "no key"])
def test_a_start_issues_anew_when_names_or_files_do_not_fit(tmp_path: Path, damage: str) -> None:
    first = make(tmp_path)
    was = server(first).serial_number
    tls = Tls()
    match damage:
        case "names":
            tls = Tls(names=("api.example.com",))
        case "other key":
            first.key_file.write_bytes((tmp_path / "ca.key").read_bytes())
        case "no certificate":
            first.cert_file.unlink()
        case "half a certificate":
            first.cert_file.write_bytes(first.cert_file.read_bytes()[:100])
        case "no key":
            first.key_file.unlink()
    second = make(tmp_path, tls=tls)
    assert server(second).serial_number != was
    assert second.ca_pem == first.ca_pem
    assert handshake(second, name="localhost") == "TLSv1.3"


def test_an_authority_that_ends_is_made_anew(tmp_path: Path) -> None:
    first = make(tmp_path)
    later = NOW + timedelta(days=3640)
    second = make(tmp_path, now=later)
    assert second.ca_pem != first.ca_pem
    assert second.not_after == later + timedelta(days=365)


def test_a_certificate_never_outlives_its_authority(tmp_path: Path) -> None:
    make(tmp_path)
    assert make(tmp_path, now=NOW + timedelta(days=3500)).not_after == NOW + timedelta(days=3650)


def test_a_start_that_died_between_the_key_and_the_certificate_of_the_authority_is_mended(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "ca.crt").unlink()
    assert handshake(make(tmp_path), name="localhost") == "TLSv1.3"


@pytest.mark.parametrize("damage", [None, b"", b"nonsense"])
def test_an_authority_without_its_key_is_an_error_that_says_what_to_do(tmp_path: Path, damage: bytes | None) -> None:
    make(tmp_path)
    if damage is None:
        (tmp_path / "ca.key").unlink()
    else:
        (tmp_path / "ca.key").write_bytes(damage)
    with pytest.raises(StartError, match=r"ca\.key") as refused:
        make(tmp_path)
    assert "a new authority is made" in refused.value.hint


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_an_address_of_all_interfaces_is_no_name(host: str) -> None:
    assert server_names(host, "buzz", ()) == ("127.0.0.1", "::1", "buzz", "localhost")


def test_names_are_spelt_one_way_and_a_host_name_that_cannot_be_certified_is_left_out() -> None:
    assert server_names("0:0::1", "under_score", ("API.Example.com", "*.example.com")) == (
        "*.example.com",
        "127.0.0.1",
        "::1",
        "api.example.com",
        "localhost",
    )


@pytest.mark.parametrize("name", ["", "a b", "-a", "a..b", "x" * 64, "https://a"])
def test_a_wrong_extra_name_is_refused(name: str) -> None:
    with pytest.raises(StartError, match=r"tls\.names"):
        server_names("127.0.0.1", "buzz", (name,))


def test_the_users_own_certificate_is_served_and_nothing_is_made(tmp_path: Path) -> None:
    own = make(tmp_path)
    folder = tmp_path / "data"
    folder.mkdir()
    made = make(folder, tls=Tls(cert=own.cert_file, key=own.key_file, ca=tmp_path / "ca.crt"))
    assert (made.cert_file, made.key_file, made.ca_pem) == (own.cert_file, own.key_file, own.ca_pem)
    assert list(folder.iterdir()) == []


def supplied(folder: Path, case: str) -> tuple[Tls, datetime]:
    """The user's files, wrong in one way."""
    made = make(folder)
    cert, key, now = made.cert_file, made.key_file, NOW
    match case:
        case "missing":
            cert = folder / "none.crt"
        case "no PEM":
            cert.write_text("hello")
        case "other key":
            key = folder / "ca.key"
        case "pass phrase":
            loaded = load_pem_private_key(key.read_bytes(), None)
            key.write_bytes(loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")))
        case "expired":
            now = NOW + timedelta(days=400)
        case "future":
            now = NOW - timedelta(days=1)
        case "key no PEM":
            key.write_text("hello")
        case "no authority":
            return Tls(cert=cert, key=key, ca=folder / "none.crt"), now
    return Tls(cert=cert, key=key), now


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("missing", r"cannot read the certificate .*none\.crt: No such file or directory"),
        ("no PEM", r"server\.crt is not a certificate in PEM form"),
        ("other key", r"ca\.key is not the key of .*server\.crt"),
        ("pass phrase", r"the private key .*server\.key has a pass phrase"),
        ("expired", r"the certificate .*server\.crt expired on \d{4}-\d\d-\d\d$"),
        ("future", r"the certificate .*server\.crt is not valid before"),
        ("key no PEM", r"server\.key is not a private key in PEM form"),
        ("no authority", r"cannot read the certificate .*none\.crt"),
    ],
)
def test_a_wrong_certificate_of_the_user_is_one_line_at_the_start(tmp_path: Path, case: str, message: str) -> None:
    tls, now = supplied(tmp_path, case)
    with pytest.raises(StartError, match=message) as refused:
        make(tmp_path, tls=tls, now=now)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        (Address("127.0.0.1", 7443), "https://127.0.0.1:7443"),
        (Address("0.0.0.0", 1), "https://127.0.0.1:1"),
        (Address("::", 1), "https://[::1]:1"),
        (Address("fd00::5", 1), "https://[fd00::5]:1"),
        (Address("api.example.com", 443), "https://api.example.com:443"),
    ],
)
def test_the_url_reaches_what_listens_from_this_machine(listen: Address, url: str) -> None:
    assert kubeconfig.server_url(listen) == url


def write(folder: Path, *, server: str = "https://127.0.0.1:7443", token: str = "t0ken") -> Path:
    return kubeconfig.write(folder, server=server, ca_pem=make(folder).ca_pem, token=token)


def test_the_kubeconfig_is_private_and_kubectl_reads_it(tmp_path: Path) -> None:
    kubectl = shutil.which("kubectl")
    assert kubectl is not None, "kubectl must be on the PATH"
    path = write(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    command = [kubectl, f"--kubeconfig={path}", "config", "view", "--raw", "--minify", "-o", "json"]
    seen = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert seen["current-context"] == "skep"
    assert seen["contexts"][0]["context"]["namespace"] == "default"
    assert seen["users"][0]["user"]["token"] == "t0ken"
    assert b64decode(seen["clusters"][0]["cluster"]["certificate-authority-data"]) == make(tmp_path).ca_pem


def test_the_kubernetes_client_takes_address_token_and_authority_from_it(tmp_path: Path) -> None:
    configuration = kubernetes.client.Configuration()
    kubernetes.config.load_kube_config(str(write(tmp_path)), client_configuration=configuration)
    assert configuration.host == "https://127.0.0.1:7443"
    assert configuration.auth_settings()["BearerToken"]["value"] == "Bearer t0ken"
    assert Path(configuration.ssl_ca_cert).read_bytes() == make(tmp_path).ca_pem


def test_the_kubeconfig_is_written_again_only_when_something_in_it_changed(tmp_path: Path) -> None:
    first = write(tmp_path).stat()
    assert write(tmp_path).stat().st_ino == first.st_ino
    assert yaml.safe_load(write(tmp_path, server="https://127.0.0.1:9").read_text())["clusters"][0]["cluster"]["server"].endswith(
        ":9"
    )


def test_a_new_token_is_all_that_changes_in_the_kubeconfig(tmp_path: Path) -> None:
    before = yaml.safe_load(write(tmp_path).read_text())
    path = kubeconfig.replace_token(tmp_path, "n3w")
    assert path is not None
    after = yaml.safe_load(path.read_text())
    assert after["users"][0]["user"]["token"] == "n3w"
    before["users"][0]["user"]["token"] = "n3w"
    assert after == before


def test_the_export_line_can_be_pasted_whatever_the_folder_is_called() -> None:
    assert kubeconfig.export_line(Path("/a b/kubeconfig")) == "export KUBECONFIG='/a b/kubeconfig'"
