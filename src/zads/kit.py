"""A subscriber's kit: a directory of files with which a user can read their topics; it works wherever it is copied.

Its files come from a directory of templates: those that end in ``.j2`` are rendered, all others are copied. One more,
``reach.py``, is a module of this package, so that subscribers and operators try the same steps. Each format has its own
way to write quotes, backslashes and letters beyond ASCII in a password. A password that some format cannot hold is
refused.
"""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import jinja2

from zads import kafka, names, reach
from zads.errors import ZadsError
from zads.site.policy import Policy

#: The longest line that kcat accepts: only as many brokers as fit are named, and clients learn the others from these.
LINE_BYTES = 500


@dataclass(frozen=True)
class File:
    """A file of a kit. ``program``: whether it is an executable program."""

    data: bytes
    program: bool = False

    @property
    def mode(self) -> int:
        """The file's mode: only its owner can use it."""
        return 0o700 if self.program else 0o600


@dataclass(frozen=True)
class Kit:
    """The contents of a user's files: their account at a site, and what they may read there."""

    user: str
    site: str
    password: str
    brokers: tuple[str, ...]
    certificate: str
    programmes: tuple[int, ...] = ()
    filters: tuple[str, ...] = ()
    samples: tuple[str, ...] = ()

    @classmethod
    def of(cls, policy: Policy, user: str, password: str, brokers: list[str], certificate: str) -> Kit:
        """The kit of a user of the policy. Raises ZadsError for a password that the formats cannot hold."""
        entry = next(one for one in policy.users if one.name == user)
        filters = tuple(names.filter_topic(one.name) for one in policy.filters if one.owner == user)
        samples = tuple(one.topic for one in policy.samples if one.site == entry.site and user in one.readers)
        check_password(user, password)
        programmes = tuple(sorted(entry.programmes))
        return cls(user, entry.site, password, fitting(brokers), certificate, programmes, filters, samples)

    @property
    def nights(self) -> str:
        """A pattern for every night's topics of the user's programmes; empty if they have none."""
        return names.topic_pattern(self.programmes) if self.programmes else ""

    @property
    def topics(self) -> tuple[str, ...]:
        """Everything that the user may read: names, and a pattern that begins with ``^``."""
        return ((self.nights,) if self.nights else ()) + self.filters + self.samples

    def files(self, templates: Path) -> dict[str, File]:
        """The kit's files by their path within it."""
        found = {"ca.pem": File(self.certificate.encode()), "reach.py": File(Path(reach.__file__).read_bytes())}
        for path in sorted(path for path in templates.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
            name = str(path.relative_to(templates))
            if path.suffix == ".j2":
                found[name.removesuffix(".j2")] = File(self.render(path).encode())
            else:
                data = path.read_bytes()
                found[name] = File(data, program=data.startswith(b"#!"))
        return found

    def render(self, template: Path, ca: str = "ca.pem") -> str:
        """A template's text; ``ca`` is the path of the certificate in librdkafka's file."""
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(template.parent), undefined=jinja2.StrictUndefined, trim_blocks=True,
            lstrip_blocks=True, keep_trailing_newline=True, autoescape=False,  # noqa: S701 - these are no web pages
        )  # fmt: skip
        environment.filters.update({"java": java, "jaas": jaas, "toml": toml})
        return environment.get_template(template.name).render(
            user=self.user, site=self.site, password=self.password, brokers=self.brokers, certificate=self.certificate,
            programmes=self.programmes, filters=self.filters, samples=self.samples, nights=self.nights,
            topics=self.topics,
            connection=kafka.with_password(self.brokers, ca, self.user, self.password),
        )  # fmt: skip


def check_password(user: str, password: str) -> None:
    """Raises ZadsError for a password that some client would not read correctly."""
    reasons = {
        "is empty": not password,
        "begins or ends with a space": password != password.strip(),
        "has a control character": any(unicodedata.category(one) in {"Cc", "Cs", "Zl", "Zp"} for one in password),
        "is not in Unicode's form NFKC": not unicodedata.is_normalized("NFKC", password),
        f"is longer than {LINE_BYTES // 2} bytes": len(password.encode("utf-8", "replace")) > LINE_BYTES // 2,
    }
    if wrong := [reason for reason, holds in reasons.items() if holds]:
        raise ZadsError(
            f"the password of {user} {' and '.join(wrong)}: some clients could not read it",
            hint="give another in passwords.yml",
        )


def fitting(brokers: list[str]) -> tuple[str, ...]:
    """The first brokers: as many as fit into a line of a properties file."""
    kept: list[str] = []
    for broker in brokers:
        if kept and len(",".join([*kept, broker]).encode()) > LINE_BYTES - len("bootstrap.servers="):
            break
        kept.append(broker)
    return tuple(kept)


def java(value: str) -> str:
    """A value as java.util.Properties reads it (Latin-1, so that other letters are ``\\uXXXX``)."""
    escapes = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\f": "\\f"}
    text = "".join(escapes.get(one, one) for one in value)
    if text.startswith(" "):
        text = f"\\{text}"
    pairs = ((one, one.encode("utf-16-be")) for one in text)
    return "".join(
        one if " " <= one <= "~" else "".join(f"\\u{code[i : i + 2].hex()}" for i in range(0, len(code), 2))
        for one, code in pairs
    )


def jaas(value: str) -> str:
    """A quoted value of a line for JAAS, as java.io.StreamTokenizer reads it."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def toml(value: str) -> str:
    """A basic string of TOML."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
