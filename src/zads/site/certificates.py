"""Makes keys and certificates, reads them from their files, and decides whether they can stay.

Keys are ECDSA on P-256. Authorities last ten years. Certificates last two years, and never longer than their authority.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from zads import wholefile

_AUTHORITY_YEARS = 10
_CERTIFICATE_YEARS = 2
_YEAR = datetime.timedelta(days=365)
_CLOCK_SKEW = datetime.timedelta(hours=1)  # hosts whose clock is a little behind accept a new certificate
_PKCS8 = serialization.PrivateFormat.PKCS8  # the form that Kafka and ZooKeeper read
_PKCS8_HEAD = b"-----BEGIN PRIVATE KEY-----"


def now() -> datetime.datetime:
    """The moment by which validity is judged."""
    return datetime.datetime.now(datetime.UTC)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key: the files ``PATH.crt`` and ``PATH.key``. ``key`` is None if it was not read."""

    path: Path
    key: CertificateIssuerPrivateKeyTypes | None
    certificate: x509.Certificate

    @classmethod
    def load(cls, path: Path, *, keyless: bool = False) -> Pair | None:
        """The pair in these files; None if a wanted file is missing. Raises ValueError for an unreadable file."""
        key, certificate = beside(path, "key"), beside(path, "crt")
        if not (certificate.exists() and (keyless or key.exists())):
            return None
        private = None if keyless else read_key(key)
        return cls(path, private, x509.load_pem_x509_certificate(certificate.read_bytes()))

    @classmethod
    def make(cls, path: Path, name: str, *, names: Iterable[str] = (), issuer: Pair | None = None) -> Pair:
        """A new key and certificate: an authority if there is no issuer, else a certificate for clients and servers."""
        key = ec.generate_private_key(ec.SECP256R1())
        signer = key if issuer is None else issuer.signer
        end = now() + _YEAR * (_CERTIFICATE_YEARS if issuer else _AUTHORITY_YEARS)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.certificate.subject if issuer else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now() - _CLOCK_SKEW)
            .not_valid_after(min(end, issuer.certificate.not_valid_after_utc) if issuer else end)
            .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None if issuer else 0), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(_usage(authority=issuer is None), critical=True)
        )
        if issuer:
            uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False).add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
            )
            if entries := _alternative(names):
                builder = builder.add_extension(x509.SubjectAlternativeName(entries), critical=False)
        return cls(path, key, builder.sign(signer, hashes.SHA256()))

    def save(self) -> None:
        """Write both files, readable by their owner alone."""
        key = self.signer.private_bytes(serialization.Encoding.PEM, _PKCS8, serialization.NoEncryption())
        wholefile.write_private(beside(self.path, "key"), key)
        wholefile.write_private(beside(self.path, "crt"), self.certificate.public_bytes(serialization.Encoding.PEM))

    @property
    def signer(self) -> CertificateIssuerPrivateKeyTypes:
        """The key. Raises ValueError if the pair was read without it."""
        if self.key is None:
            raise ValueError(f"{beside(self.path, 'key')} has not been read")
        return self.key

    @property
    def days(self) -> int:
        """Whole days until it expires."""
        return (self.certificate.not_valid_after_utc - now()).days

    def names(self) -> set[str]:
        """Names and addresses that the certificate vouches for."""
        try:
            value = self.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return set()
        return {str(name.value) for name in value}

    def wrong(self, issuer: Pair, name: str, names: Iterable[str], renew_days: int, *, given: bool = False) -> str:
        """Why this certificate cannot stay; empty when it can. A ``given`` one may have more in its name and names."""
        if not issued(self.certificate, issuer.certificate):
            return "issued by another authority"
        if self.signer.public_key() != self.certificate.public_key():
            return "its key is another's"
        subject = self.certificate.subject.rfc4514_string()
        if subject != f"CN={name}" and not (given and subject.startswith(f"CN={name},")):
            return f"its name is {subject}, not CN={name}"
        wanted = {str(entry.value) for entry in _alternative(names)}
        if not (wanted <= self.names() if given else wanted == self.names()):
            return f"valid for {', '.join(sorted(self.names())) or 'no name'}, not {', '.join(sorted(wanted))}"
        if not beside(self.path, "key").read_bytes().lstrip().startswith(_PKCS8_HEAD):
            return "its key is not in the form PKCS#8, which Kafka and ZooKeeper read"
        # If the certificate ends with its authority, a new one would last no longer.
        return f"expires in {self.days} days" if self.days < min(renew_days, issuer.days) else ""


def found(directory: Path) -> dict[str, list[x509.Certificate]]:
    """The certificates in each file ``NAME.crt`` below a directory, by its name.

    Raises ValueError for a file that cannot be read.
    """
    files = {str(path.relative_to(directory).with_suffix("")): path for path in sorted(directory.rglob("*.crt"))}
    return {name: x509.load_pem_x509_certificates(path.read_bytes()) for name, path in files.items()}


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether a certificate may issue others."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def issued(certificate: x509.Certificate, by: x509.Certificate) -> bool:
    """Whether an authority has issued a certificate."""
    try:
        certificate.verify_directly_issued_by(by)
    except Exception:  # which one depends on the keys' kinds
        return False
    return True


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of a certificate, in hexadecimal digits."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def beside(path: Path, kind: str) -> Path:
    """The file of a pair: ``crt`` or ``key``."""
    return path.with_suffix(f".{kind}")


def read_key(path: Path) -> CertificateIssuerPrivateKeyTypes:
    """The key in a file. Raises ValueError if it cannot be read, or cannot sign."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except TypeError as error:  # the key has a passphrase
        raise ValueError(str(error)) from error
    if not hasattr(key, "sign"):
        raise ValueError("it is a key that cannot sign")
    return key  # type: ignore[return-value]  # the kinds that sign are the kinds that issue


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority, key_cert_sign=authority, crl_sign=authority, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _alternative(names: Iterable[str]) -> list[x509.IPAddress | x509.DNSName]:
    """Names as a certificate carries them, each once: addresses as addresses, all others as host names."""
    entries: list[x509.IPAddress | x509.DNSName] = []
    for name in dict.fromkeys(names):
        try:
            entries.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            entries.append(x509.DNSName(name))
    return entries
