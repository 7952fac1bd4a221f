#!/usr/bin/python
"""Certificates and passwords of a whole deployment, kept on the control machine."""
# ruff: noqa: E402 - the order Ansible asks for: documentation, then imports

from __future__ import annotations

DOCUMENTATION = r"""
module: site_secrets
short_description: Authorities, certificates and passwords of every site
description:
  - Runs on the control machine, once for all hosts. Each site has two certificate authorities, one for its brokers
    and one for its ensemble, so that only brokers and ensemble can speak to ZooKeeper.
  - A certificate is made again when it is missing, when its names or its authority differ, or when it expires soon.
    Keys are ECDSA on P-256, authorities last 10 years, certificates 2 years, but never longer than their authority.
  - What nears its end is told as a warning, with every run.
  - With O(source=given) nothing is made; what is missing or wrong is an error that names the file. An authority's key
    is not asked for then, and a certificate may vouch for more names than it must.
options:
  directory: {description: Where the secrets are kept, type: path, required: true}
  clients: {description: Where client configurations are kept, type: path, required: true}
  hosts:
    description: Every host that needs certificates.
    type: list
    elements: dict
    required: true
    options:
      name: {description: Its inventory name and certificate name, type: str, required: true}
      site: {description: Its site, type: str, required: true}
      kafka: {description: Whether it is a broker, type: bool, default: false}
      names: {description: Names and addresses that reach it, type: list, elements: str, default: []}
      bootstrap: {description: Address of the listener for brokers, type: str, default: ""}
  mirrors:
    description: Hosts whose mirrors speak to each other, when there are several. They share an authority of their own.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Its inventory name and certificate name, type: str, required: true}
      names: {description: Names and addresses that reach it, type: list, elements: str, default: []}
  passwords: {description: Users and programs that need a password, type: list, elements: str, default: []}
  source: {description: Make secrets or demand them, type: str, choices: [generated, given], default: generated}
  renew_days: {description: A certificate with fewer days left is made again, type: int, default: 30}
  authority_days: {description: An authority with fewer days left is warned of, type: int, default: 365}
  critical_days: {description: What has fewer days left is in RV(critical), type: int, default: 21}
  password_days: {description: A password that is older is warned of, 0 for never, type: int, default: 730}
"""

EXAMPLES = r"""
- name: Make what is missing
  site_secrets:
    directory: "{{ zads_state }}/secrets"
    clients: "{{ zads_state }}/clients"
    hosts: [{name: origin-1, site: origin, kafka: true, names: [192.0.2.1], bootstrap: "192.0.2.1:9093"}]
    passwords: [reader, producer]
"""

RETURN = r"""
renewed: {description: Certificates made again, returned: always, type: list, elements: str}
created: {description: Secrets made for the first time, returned: always, type: list, elements: str}
expires: {description: Days until the first certificate or authority expires, returned: always, type: int}
nearing: {description: What nears its end, in words, returned: always, type: list, elements: str}
critical: {description: Which of it is so near that a system is not well, returned: always, type: list, elements: str}
"""

import datetime
import ipaddress
import json
import secrets
from pathlib import Path

import yaml
from ansible.module_utils.ages import Certificate, Limits, report
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.whole_file import replace
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_YEARS = 10
LEAF_YEARS = 2
YEAR = datetime.timedelta(days=365)
CLOCK_SKEW = datetime.timedelta(hours=1)  # hosts whose clock is a little behind accept a new certificate


def now():
    return datetime.datetime.now(datetime.UTC)


def write(path: Path, data: bytes) -> None:
    """Replace a file of a directory that only its owner enters."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace(path, data)


class Pair:
    """A key and its certificate: ``PATH.key`` and ``PATH.crt``."""

    def __init__(self, path: Path, key=None, certificate=None):
        self.path, self.key, self.certificate = path, key, certificate

    @classmethod
    def load(cls, path: Path, *, keyless: bool = False) -> Pair | None:
        """The pair in these files, or None when one that is needed is missing. ValueError when one cannot be read."""
        key, certificate = path.with_suffix(".key"), path.with_suffix(".crt")
        if not (certificate.exists() and (keyless or key.exists())):
            return None
        try:
            private = None if keyless else serialization.load_pem_private_key(key.read_bytes(), None)
        except TypeError as error:  # it has a passphrase
            raise ValueError(str(error)) from error
        return cls(path, private, x509.load_pem_x509_certificate(certificate.read_bytes()))

    @classmethod
    def make(cls, path: Path, name: str, *, names=(), issuer: Pair | None = None) -> Pair:
        """A new key and certificate: an authority when nobody issues it, else one for clients and servers."""
        key = ec.generate_private_key(ec.SECP256R1())
        end = now() + YEAR * (LEAF_YEARS if issuer else CA_YEARS)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.certificate.subject if issuer else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now() - CLOCK_SKEW)
            .not_valid_after(min(end, issuer.certificate.not_valid_after_utc) if issuer else end)
            .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None if issuer else 0), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(usage(authority=issuer is None), critical=True)
        )
        if issuer:
            uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False).add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False
            )
            if names:
                builder = builder.add_extension(x509.SubjectAlternativeName(alternative(names)), critical=False)
        return cls(path, key, builder.sign(issuer.key if issuer else key, hashes.SHA256()))

    def save(self) -> None:
        kind = serialization.PrivateFormat.PKCS8  # the form that Kafka and ZooKeeper read
        write(
            self.path.with_suffix(".key"),
            self.key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption()),
        )
        write(self.path.with_suffix(".crt"), self.certificate.public_bytes(serialization.Encoding.PEM))

    @property
    def days(self) -> int:
        """Whole days until it expires."""
        return (self.certificate.not_valid_after_utc - now()).days

    def names(self) -> set[str]:
        """Names and addresses that it vouches for."""
        try:
            value = self.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return set()
        return {str(name.value) for name in value}

    def wrong(self, issuer: Pair, name: str, names, renew_days: int, *, given: bool = False) -> str:
        """Why this certificate must be made again; empty when it is good. One that is ``given`` may say more."""
        try:
            self.certificate.verify_directly_issued_by(issuer.certificate)
        except Exception:
            return "issued by another authority"
        if self.key.public_key() != self.certificate.public_key():
            return "its key is another's"
        subject = self.certificate.subject.rfc4514_string()
        if subject != f"CN={name}" and not (given and subject.startswith(f"CN={name},")):
            return f"its name is {subject}, not CN={name}"
        wanted = {str(entry.value) for entry in alternative(names)}
        if not (wanted <= self.names() if given else wanted == self.names()):
            return f"valid for {', '.join(sorted(self.names())) or 'no name'}, not {', '.join(sorted(wanted))}"
        if not self.path.with_suffix(".key").read_bytes().lstrip().startswith(b"-----BEGIN PRIVATE KEY-----"):
            return "its key is not in the form PKCS#8, which Kafka and ZooKeeper read"
        # At the end of its authority a new one would last no longer.
        return f"expires in {self.days} days" if self.days < min(renew_days, issuer.days) else ""


def usage(*, authority: bool) -> x509.KeyUsage:
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


def alternative(names) -> list:
    """Names as a certificate carries them: addresses as addresses, all else as host names, each once."""
    entries = []
    for name in dict.fromkeys(names):
        try:
            entries.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            entries.append(x509.DNSName(name))
    return entries


class Secrets:
    """What is there, what is wanted, and the difference, for one deployment."""

    def __init__(self, params: dict, *, check: bool):
        self.directory, self.clients = Path(params["directory"]), Path(params["clients"])
        self.hosts, self.mirrors, self.users = params["hosts"], params["mirrors"], params["passwords"]
        self.given, self.renew_days = params["source"] == "given", params["renew_days"]
        self.check = check
        self.created: list[str] = []
        self.renewed: list[str] = []
        self.written: list[str] = []
        self.removed: list[str] = []
        self.problems: list[str] = []
        self.ends: list[Certificate] = []
        self.ages: dict[str, int] = {}

    def settle(self) -> None:
        if not self.check:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.clients.mkdir(mode=0o700, parents=True, exist_ok=True)
        for site in dict.fromkeys(host["site"] for host in self.hosts):
            self._site(site, [host for host in self.hosts if host["site"] == site])
        self._mirrors()
        self._passwords()

    def _site(self, site: str, hosts: list[dict]) -> None:
        brokers = self._authority(f"{site}/kafka-ca", f"ZADS {site} Kafka")
        ensemble = self._authority(f"{site}/zookeeper-ca", f"ZADS {site} ZooKeeper")
        for host in hosts:
            names = [host["name"], *host["names"], "localhost", "127.0.0.1"]
            if host["kafka"]:
                self._certificate(f"{site}/{host['name']}/kafka", host["name"], names, brokers)
            self._certificate(f"{site}/{host['name']}/zookeeper", host["name"], names, ensemble)
        self._certificate(f"{site}/admin", "admin", [], brokers)
        self._administrator(site, [host["bootstrap"] for host in hosts if host["bootstrap"]])

    def _mirrors(self) -> None:
        """One mirror alone speaks to nobody, and needs none of this."""
        if len(self.mirrors) > 1:
            authority = self._authority("mirrors/ca", "ZADS mirrors")
            for host in self.mirrors:
                names = [host["name"], *host["names"]]
                self._certificate(f"mirrors/{host['name']}/rest", host["name"], names, authority)

    def _load(self, name: str, *, keyless: bool = False) -> Pair | None:
        try:
            return Pair.load(self.directory / name, keyless=keyless)
        except ValueError as error:
            self.problems.append(f"{self.directory / name}.{{crt,key}} cannot be read: {error}")
            return None

    def _authority(self, name: str, title: str) -> Pair | None:
        pair = self._load(name, keyless=self.given)
        if pair is None and not self.given and (half := self._half(name)):
            self.problems.append(half)
            return None
        if pair is None:
            if self._refuse(f"{name}.crt is missing" if self.given else f"{name}.crt and its .key are missing"):
                return None
            pair = Pair.make(self.directory / name, title)
            self.created.append(name)
            if not self.check:
                pair.save()
        self.ends.append(Certificate(name, pair.days))
        return pair

    def _half(self, name: str) -> str:
        """What to say of an authority of which one file is there: who lost the other wants it back, not a new one."""
        there = [kind for kind in ("crt", "key") if (self.directory / f"{name}.{kind}").exists()]
        if len(there) != 1:
            return ""
        lost = "key" if there == ["crt"] else "crt"
        return f"{self.directory}/{name}.{lost} is missing, but {name}.{there[0]} is there: restore it from the backup"

    def _certificate(self, name: str, title: str, names: list[str], issuer: Pair | None) -> None:
        pair = self._load(name)
        if issuer is None:
            if pair is None:
                self._refuse(f"{name}.crt and its .key are missing")
            return
        wrong = "missing"
        if pair:
            wrong = pair.wrong(issuer, title, names, self.renew_days, given=self.given)
        if wrong and not self._refuse(f"{name}.crt: {wrong}"):
            (self.renewed if pair else self.created).append(f"{name} ({wrong})" if pair else name)
            pair = Pair.make(self.directory / name, title, names=names, issuer=issuer)
            if not self.check:
                pair.save()
        if pair:
            self.ends.append(Certificate(name, pair.days, issuer.days))

    def _refuse(self, problem: str) -> bool:
        """Whether secrets are given, so that a lack is the operator's to mend."""
        if self.given or self.problems:
            self.problems.append(f"{self.directory}/{problem}")
        return bool(self.given or self.problems)

    def _administrator(self, site: str, brokers: list[str]) -> None:
        """What the operators' own tools use: the listener for brokers, with the administrator's certificate."""
        if not brokers:
            return
        secrets_of = self.directory / site
        text = (
            f"# Super user of the site {site}: for the operators' tools on the control machine only.\n"
            f"bootstrap.servers={','.join(brokers)}\n"
            "security.protocol=ssl\n"
            f"ssl.ca.location={secrets_of}/kafka-ca.crt\n"
            f"ssl.certificate.location={secrets_of}/admin.crt\n"
            f"ssl.key.location={secrets_of}/admin.key\n"
        )
        path = self.clients / f"admin-{site}.properties"
        if not path.exists() or path.read_text() != text:
            self.written.append(path.name)
            if not self.check:
                write(path, text.encode())

    def _passwords(self) -> None:
        path = self.directory / "passwords.yml"
        there = (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}
        if self.given:
            self.problems += [f"{path} has no password for {user}" for user in self.users if not there.get(user)]
            return
        if self.problems:
            return
        wanted = {user: there.get(user) or secrets.token_urlsafe(24) for user in sorted(self.users)}
        new = [user for user in wanted if not there.get(user)]
        self._ages(path, sorted(wanted), new)
        self.created += [f"password of {user}" for user in new]
        self.removed += [f"password of {user}" for user in there if user not in wanted]
        if wanted != there and not self.check:
            write(path, ("# Made by the deployment; a line removed is made anew.\n" + yaml.safe_dump(wanted)).encode())

    def _ages(self, path: Path, users: list[str], new: list[str]) -> None:
        """Remember the day on which each password was made; of one from before this was kept, the file's own day."""
        memory = path.with_name("passwords-made.json")
        there = json.loads(memory.read_text()) if memory.exists() else {}
        today = now().date()
        earlier = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC).date() if path.exists() else today
        made = {user: str(today if user in new else there.get(user, earlier)) for user in users}
        self.ages = {user: (today - datetime.date.fromisoformat(day)).days for user, day in made.items()}
        if made == there:
            return
        self.written.append(memory.name)
        if not self.check:
            write(memory, (json.dumps(made, indent=1, sort_keys=True) + "\n").encode())

    def nearing(self, limits: Limits) -> tuple[list[str], list[str]]:
        """What to warn of, and what of it is a failure."""
        return report(self.ends, self.ages, limits)

    def result(self) -> dict:
        before = [f"{name}" for name in self.renewed + self.removed]
        after = [f"{name}" for name in self.created + self.written] + [
            f"{name.partition(' (')[0]} (new)" for name in self.renewed
        ]
        return {
            "changed": bool(before or after),
            "renewed": [name.partition(" (")[0] for name in self.renewed],
            "created": self.created,
            "expires": min((one.days for one in self.ends), default=0),
            "diff": {"before": "".join(f"{x}\n" for x in before), "after": "".join(f"{x}\n" for x in after)},
        }


def main() -> None:
    host = {
        "name": {"type": "str", "required": True},
        "site": {"type": "str", "required": True},
        "kafka": {"type": "bool", "default": False},
        "names": {"type": "list", "elements": "str", "default": []},
        "bootstrap": {"type": "str", "default": ""},
    }
    mirror = {"name": {"type": "str", "required": True}, "names": {"type": "list", "elements": "str", "default": []}}
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "clients": {"type": "path", "required": True},
            "hosts": {"type": "list", "elements": "dict", "required": True, "options": host},
            "mirrors": {"type": "list", "elements": "dict", "default": [], "options": mirror},
            "passwords": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "source": {"type": "str", "choices": ["generated", "given"], "default": "generated"},
            "renew_days": {"type": "int", "default": 30},
            "authority_days": {"type": "int", "default": 365},
            "critical_days": {"type": "int", "default": 21},
            "password_days": {"type": "int", "default": 730, "no_log": False},
        },
        supports_check_mode=True,
    )
    state = Secrets(module.params, check=module.check_mode)
    state.settle()
    if state.problems:
        module.fail_json(msg="; ".join(state.problems))
    days = module.params
    limits = Limits(days["authority_days"], days["renew_days"], days["critical_days"], days["password_days"])
    nearing, critical = state.nearing(limits)
    for line in nearing:
        module.warn(f"{line} ({state.directory})")
    module.exit_json(**state.result(), nearing=nearing, critical=critical)


if __name__ == "__main__":
    main()
