"""An authority that can be changed while everything runs: which certificates are trusted, and which of them issues.

``NAME.crt`` holds every certificate that is trusted, and the first of them issues. While an authority is changed there
are two, and a second pair of files, ``NAME-second.crt`` and ``NAME-second.key``, belongs to the newer one.

====  ===============  ======================================
step  ``NAME.crt``     what follows from it
====  ===============  ======================================
0     old              at rest
1     old, new         both are trusted, the old one issues
2     new, old         both are trusted, the new one issues
0     new              the old one is no longer trusted
====  ===============  ======================================

Each step is one replacement of ``NAME.crt``, so an interrupted step has happened or has not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import NameOID

from zads import wholefile
from zads.site.certificates import Pair, beside, issued, read_key

#: The second authority of a title has the number 2 behind it, and so on: ZooKeeper tells them apart by name alone.
_NUMBERED = re.compile(r"(?P<title>.*?)(?: (?P<number>[0-9]{1,9}))?")


@dataclass(frozen=True)
class Authority:
    """The files ``PATH.crt`` and ``PATH.key``. ``key`` is the issuer's; None if it was not read."""

    path: Path
    trusted: tuple[x509.Certificate, ...]
    key: CertificateIssuerPrivateKeyTypes | None

    @classmethod
    def load(cls, path: Path, *, keyless: bool = False) -> Authority | None:
        """The authority in these files; None if a wanted file is missing.

        Raises ValueError for an unreadable file, and if none of the keys is that of the certificate that issues.
        """
        if not (beside(path, "crt").exists() and (keyless or beside(path, "key").exists())):
            return None
        trusted = tuple(x509.load_pem_x509_certificates(beside(path, "crt").read_bytes()))
        return cls(path, trusted, None if keyless else _key_of(path, trusted[0]))

    @classmethod
    def make(cls, path: Path, title: str) -> Authority:
        """A new authority. Nothing is written before `save`."""
        pair = Pair.make(path, title)
        return cls(path, (pair.certificate,), pair.key)

    def save(self) -> None:
        """Write both files of an authority that was made."""
        self.issuer.save()

    @property
    def issuer(self) -> Pair:
        """The certificate that issues, with its key."""
        return Pair(self.path, self.key, self.trusted[0])

    def issuer_of(self, certificate: x509.Certificate) -> Pair:
        """The trusted certificate that issued another one; the present issuer if none did."""
        return next((pair for pair in self.pairs if issued(certificate, pair.certificate)), self.issuer)

    @property
    def pairs(self) -> list[Pair]:
        """Every trusted certificate, without keys, the issuer first."""
        return [Pair(self.path, None, one) for one in self.trusted]

    @property
    def step(self) -> int:
        """0 at rest, 1 or 2 while it is changed. Raises ValueError if the file's certificates are not of one change."""
        if len(self.trusted) == 1:
            return 0
        numbers = [_number(one) for one in self.trusted]
        if len(numbers) > 2 or numbers[0] == numbers[1]:
            raise ValueError(
                f"{beside(self.path, 'crt')} holds {len(numbers)} certificates that no change has put there"
            )
        return 1 if numbers[0] < numbers[1] else 2

    @property
    def begun(self) -> bool:
        """Whether it is at rest, but a newer pair is there: a change was interrupted before its first step."""
        if self.step != 0:
            return False
        newer = Pair.load(_second(self.path))
        return newer is not None and _number(newer.certificate) > _number(self.trusted[0])

    def prepare(self) -> None:
        """At rest: make the newer pair, if an interrupted run has not made it. Nobody trusts it yet."""
        if self.step == 0 and not self.begun:
            self._tidy()
            title, number = _parts(self.trusted[0])
            Pair.make(_second(self.path), f"{title} {number + 1}").save()

    def advance(self) -> Authority:
        """Take the next step, and return the authority as it is then.

        Raises ValueError if the newer pair is missing or another's.
        """
        if self.step == 2:
            return self._rest(self.trusted[0])
        self.prepare()
        newer = self._newer()
        return self._trust(*((self.trusted[0], newer) if self.step == 0 else (newer, self.trusted[0])))

    def go_back(self) -> Authority:
        """Take back the last step, and return the authority as it is then. Raises ValueError if it is at rest."""
        if self.step == 0:
            raise ValueError(f"{self.path} is not being changed")
        if self.step == 2:
            return self._trust(self.trusted[1], self.trusted[0])
        return self._rest(self.trusted[0])

    def _newer(self) -> x509.Certificate:
        """The certificate of the newer pair. Raises ValueError if it or its key is missing or another's."""
        path = _second(self.path)
        pair = Pair.load(path)
        if pair is None or pair.signer.public_key() != pair.certificate.public_key():
            raise ValueError(f"{path}.crt and {path.name}.key are not a pair: restore them from the backup")
        if self.step == 1 and pair.certificate != self.trusted[1]:
            raise ValueError(f"{path}.crt is not what {self.path.name}.crt trusts: restore it from the backup")
        return pair.certificate

    def _trust(self, *certificates: x509.Certificate) -> Authority:
        """Replace ``PATH.crt``: this is a step."""
        content = b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)
        wholefile.write_private(beside(self.path, "crt"), content)
        return Authority(self.path, certificates, _key_of(self.path, certificates[0]))

    def _rest(self, certificate: x509.Certificate) -> Authority:
        after = self._trust(certificate)
        after._tidy()
        return after

    def _tidy(self) -> None:
        """At rest: the issuer's key goes to its place, and the second pair goes away."""
        key, second = beside(self.path, "key"), _second(self.path)
        if beside(second, "key").exists() and read_key(key).public_key() != self.trusted[0].public_key():
            beside(second, "key").replace(key)
        for kind in ("key", "crt"):
            beside(second, kind).unlink(missing_ok=True)


def _second(path: Path) -> Path:
    return path.with_name(f"{path.name}-second")


def _key_of(path: Path, certificate: x509.Certificate) -> CertificateIssuerPrivateKeyTypes:
    """The key that belongs to a certificate. Raises ValueError if none of the two does."""
    for one in (path, _second(path)):
        if beside(one, "key").exists():
            key = read_key(beside(one, "key"))
            if key.public_key() == certificate.public_key():
                return key
    raise ValueError(f"none of its keys belongs to the first certificate of {path.name}.crt")


def _parts(certificate: x509.Certificate) -> tuple[str, int]:
    """An authority's title and number; without a number it is the first."""
    name = str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
    parts = _NUMBERED.fullmatch(name)
    assert parts is not None
    return parts["title"], int(parts["number"] or 1)


def _number(certificate: x509.Certificate) -> int:
    return _parts(certificate)[1]
