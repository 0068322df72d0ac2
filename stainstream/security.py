"""Who may connect: CURVE keys in files, a list of those that are trusted, and a warning where there is neither."""

from __future__ import annotations

import logging
import os
import stat
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import zmq
from zmq.auth import load_certificate
from zmq.utils import z85

from .errors import UsageError

__all__ = ["Curve", "Doorkeeper", "make_keys", "public_key"]

_log = logging.getLogger(__name__)

_KEY_BYTES = 32
_PUBLIC, _SECRET = ".key", ".key_secret"
_HEAD = {
    _PUBLIC: "# The public half of a ZeroMQ CURVE key: give it to whom shall trust it.\n",
    _SECRET: "# A ZeroMQ CURVE key, with its secret half: it stays on this computer, and is read by its owner alone.\n",
}


class Doorkeeper(Protocol):
    """Answers ZeroMQ when it asks whether a key is known (ZAP, RFC 27)."""

    def admit(self, domain: str, curve: Curve) -> None:
        """Let those in whom `curve` trusts."""


@dataclass(frozen=True, slots=True)
class Curve:
    """The keys of one end of a connection; files are read when it is made, and the list of clients at each handshake.

    Attributes
    ----------
    own
        A ``.key_secret`` file.
    trusted
        Of an end that connects, the ``.key`` file of the end that is bound. Of an end that is bound, a folder of the
        ``.key`` files of all who may connect, or one such file.
    """

    own: Path
    trusted: Path

    @classmethod
    def of(cls, curve: str, keys: str) -> Curve | None:
        """From an address's options.

        Raises
        ------
        UsageError
            If one is given without the other, or a file cannot be used.
        """
        if not curve and not keys:
            return None
        if not (curve and keys):
            missing = "keys" if curve else "curve"
            raise UsageError(
                "cannot encrypt", f"option {missing} is missing", "curve= names the own secret key, keys= the trusted"
            )
        made = cls(Path(curve), Path(keys))
        made.secret()
        made.allowed()
        return made

    def secret(self) -> tuple[bytes, bytes]:
        """Own public and secret key."""
        public, secret = _read(self.own)
        if secret is None:
            raise UsageError(f"cannot use {self.own}", "it holds no secret key", f"curve= takes the {_SECRET} file")
        if sys.platform != "win32" and self.own.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise UsageError(f"cannot use {self.own}", "others can read it", f"run: chmod 600 {self.own}")
        return public, secret

    def allowed(self) -> frozenset[bytes]:
        """The public keys that are trusted, as they are now.

        Raises
        ------
        UsageError
            If there are none.
        """
        files = sorted(self.trusted.glob(f"*{_PUBLIC}")) if self.trusted.is_dir() else [self.trusted]
        if not files:
            raise UsageError(f"cannot use {self.trusted}", f"the folder holds no {_PUBLIC} files", "see docs/feeds.md")
        return frozenset(_read(file)[0] for file in files)

    def apply(self, opened: zmq.Socket[bytes], bind: bool, doorkeeper: Doorkeeper) -> None:
        """Set a socket's keys, before it is bound or connected."""
        opened.curve_publickey, opened.curve_secretkey = self.secret()
        if bind:
            domain = uuid.uuid4().hex
            opened.curve_server = True
            opened.zap_domain = domain.encode()
            doorkeeper.admit(domain, self)
            return
        allowed = self.allowed()
        if len(allowed) != 1:
            raise UsageError(
                f"cannot use {self.trusted}", f"it names {len(allowed)} keys", "give the bound end's alone"
            )
        (opened.curve_serverkey,) = allowed

    def callback(self, _domain: str, key: bytes) -> bool:
        """Whether a client's key is trusted; what pyzmq's authenticator asks."""
        try:
            known = key in self.allowed()
        except UsageError as error:
            _log.error("nobody is let in: %s", error)
            return False
        if not known:
            _log.warning("refused a connection: key %s is not in %s", key.decode(errors="replace"), self.trusted)
        return known


def make_keys(name: str, folder: Path) -> tuple[Path, Path]:
    """Make a pair of keys: ``NAME.key``, to be given away, and ``NAME.key_secret``, which its owner alone can read.

    Raises
    ------
    UsageError
        If there are such files already, or they cannot be written.
    """
    public, secret = zmq.curve_keypair()
    texts = {
        _SECRET: f'curve\n    public-key = "{public.decode()}"\n    secret-key = "{secret.decode()}"\n',
        _PUBLIC: f'curve\n    public-key = "{public.decode()}"\n',
    }
    files = {suffix: folder / f"{name}{suffix}" for suffix in texts}
    if name != Path(name).name or not name:
        raise UsageError(f"cannot make keys named {name!r}", "it is no file's name")
    for file in files.values():
        if file.exists():
            raise UsageError(f"cannot make {file}", "it is there already", "take another name, or delete it first")
    for suffix, text in texts.items():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            mode = 0o600 if suffix == _SECRET else 0o644
            with open(os.open(files[suffix], os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as out:
                out.write(_HEAD[suffix] + text)
        except OSError as error:
            raise UsageError(f"cannot make {files[suffix]}", error.strerror or str(error)) from error
    return files[_PUBLIC], files[_SECRET]


def public_key(file: Path) -> str:
    """The public key that a key file holds."""
    return _read(file)[0].decode()


def _read(file: Path) -> tuple[bytes, bytes | None]:
    try:
        public, secret = load_certificate(file)
        if len(z85.decode(public)) != _KEY_BYTES or (secret is not None and len(z85.decode(secret)) != _KEY_BYTES):
            raise UsageError(f"cannot use {file}", "its key has a wrong length", "run: stainstream keys generate NAME")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"cannot use {file}", f"it is no key file ({error})", "run: stainstream keys generate NAME"
        ) from error
    return public, secret
