"""The control socket: how ``fetchd poll``, ``status`` and ``health`` ask the daemon that runs.

A Unix socket in a directory of the daemon's own. Who connects has to be root or the daemon's user, as the kernel says
(``SO_PEERCRED``), whatever the file's mode. One connection, one question, one answer, each a line of JSON.
"""

import json
import os
import queue
import socket
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from fetchd.errors import FetchdError
from fetchd.inbox import Message, PollAnswer, PollRequest
from fetchd.schedule import Prompted

NAME: Final = "control"
"""The socket's file name."""
_SECONDS: Final = 10.0
"""That a question and its answer may take: the main loop may be reading a configuration."""
_LIMIT: Final = 16 * 2**20
"""Octets of a line: ten thousand names are a few hundred thousand."""
_CREDENTIALS: Final = struct.Struct("3i")
"""``struct ucred``: process, user, group (unix(7))."""


class ControlError(FetchdError):
    """The daemon could not be asked, or has no answer."""


def place(environ: Mapping[str, str], state: Path) -> Path:
    """Returns where a daemon listens: in ``$RUNTIME_DIRECTORY`` (systemd.exec(5)), else beside its store."""
    given = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    return Path(given or state.parent, NAME)


def places(environ: Mapping[str, str], state: Path, source: Path) -> Sequence[Path]:
    """Returns where a daemon may listen that was started with the configuration ``source``, the likeliest first.

    That is where we would listen, and where systemd's units let it: an operator's shell has none of their variables.
    """
    service = "fetchd" if source.stem == "fetchd" else f"fetchd-{source.stem}"
    return tuple(dict.fromkeys((place(environ, state), Path("/run", service, NAME), state.parent / NAME)))


# ── the daemon's side ────────────────────────────────────────────────────────────────────────────────────────────────


class ControlServer:
    """Listens from :meth:`start` to :meth:`stop`; questions become messages to the main loop."""

    def __init__(
        self,
        path: Path,
        *,
        source: Path,
        post: Callable[[Message], None],
        status: Callable[[], bytes],
        health: Callable[[], tuple[bool, str]],
    ) -> None:
        """Opens nothing yet.

        Args:
            path: of the socket. The caller holds the store, so that no other fetchd listens there.
            source: the configuration that the daemon runs with: who asks for another one's is refused.
            post: puts a message before the main loop.
            status: returns how every account stands, as a document of JSON.
            health: returns whether fetchd works, and that in a line; may take most of :data:`_SECONDS`.
        """
        self._path = path
        self._source = os.path.realpath(source)
        self._post = post
        self._status = status
        self._health = health
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Binds, and answers from here on.

        Raises:
            ControlError: the socket cannot be made; fetchd can do without.
        """
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._path.unlink(missing_ok=True)  # of an earlier run that was killed
            listener.bind(str(self._path))
            self._path.chmod(0o600)
            listener.listen()
        except OSError as error:
            listener.close()
            raise ControlError(f"control socket {self._path}: {error.strerror or error}") from error
        self._socket = listener
        self._thread = threading.Thread(target=self._serve, args=(listener,), name="control", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Closes and removes the socket; may be called twice, or without a start."""
        listener, thread = self._socket, self._thread
        self._socket = self._thread = None
        if listener is None or thread is None:
            return
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # ends accept()
        thread.join(1.0)
        listener.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer, suppress(Exception):  # who goes away, talks nonsense or provokes a bug sees the line close
                peer.settimeout(_SECONDS)
                peer.sendall(_line(self._answer(peer)))

    def _answer(self, peer: socket.socket) -> dict[str, Any]:
        question = _read(peer)  # in any case: a line that closes on what was not read loses the answer
        if _user(peer) not in {0, os.geteuid()}:
            return {"error": "only root and the user that fetchd runs as may ask it"}
        if question.get("source") != self._source:
            return {"error": f"the fetchd that runs here was started with {self._source}"}
        if question.get("status"):
            return {"status": json.loads(self._status())}
        if question.get("health"):
            return {"health": list(self._health())}
        names = question.get("poll")
        if not isinstance(names, list):
            return {"error": "this fetchd does not know that question; is it older than the one that asks?"}
        return self._polled(tuple(map(str, names)))

    def _polled(self, names: tuple[str, ...]) -> dict[str, Any]:
        answers: queue.SimpleQueue[PollAnswer] = queue.SimpleQueue()
        self._post(PollRequest(names, answers.put))
        try:
            return _shown(answers.get(timeout=_SECONDS / 2))
        except queue.Empty:
            return {"error": "the main loop of fetchd does not answer; is it stopping, or hung?"}


def _shown(answer: PollAnswer) -> dict[str, Any]:
    if answer.unknown:
        return {"unknown": list(answer.unknown), "known": list(answer.known)}
    return {"told": [[one.name, one.delay, one.running, one.held] for one in answer.told]}


# ── the asker's side ─────────────────────────────────────────────────────────────────────────────────────────────────


class UnknownNamesError(ControlError):
    """The daemon has no accounts of these names; it has those that are ``known``."""

    def __init__(self, unknown: Sequence[str], known: Sequence[str]) -> None:
        super().__init__(f"no account {unknown[0]!r}")
        self.unknown = tuple(unknown)
        self.known = tuple(known)


def ask_for_polls(paths: Sequence[Path], names: Sequence[str], *, source: Path) -> Sequence[Prompted]:
    """Asks the daemon to poll accounts now, and returns what comes of it.

    Args:
        paths: where it may listen.
        names: the accounts; none for all.
        source: the configuration that it runs with.

    Raises:
        ControlError: there is none, or it does not do it.
        UnknownNamesError: it has no such accounts.
    """
    answer = _asked(paths, {"poll": list(names)}, source)
    try:
        if answer.get("unknown"):
            raise UnknownNamesError(list(map(str, answer["unknown"])), list(map(str, answer["known"])))
        return [
            Prompted(str(name), float(delay), running=bool(running), held=bool(held))
            for name, delay, running, held in answer["told"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise ControlError(f"fetchd gives no answer that can be understood: {type(error).__name__}") from error


def ask_for_status(paths: Sequence[Path], *, source: Path) -> bytes:
    """Returns how every account stands, as the daemon's document of JSON. For the arguments see :func:`ask_for_polls`.

    Raises:
        ControlError: there is no daemon, or it does not tell.
    """
    return json.dumps(_asked(paths, {"status": True}, source).get("status")).encode()


def ask_for_health(paths: Sequence[Path], *, source: Path) -> tuple[bool, str]:
    """Returns whether the daemon works, and that in a line. For the arguments see :func:`ask_for_polls`.

    Raises:
        ControlError: there is no daemon, or it does not tell.
    """
    try:
        is_healthy, text = _asked(paths, {"health": True}, source)["health"]
    except (ValueError, KeyError, TypeError) as error:
        raise ControlError(f"fetchd gives no answer that can be understood: {type(error).__name__}") from error
    return is_healthy is True, str(text)


def _asked(paths: Sequence[Path], question: Mapping[str, Any], source: Path) -> dict[str, Any]:
    with _connected(paths) as sock:
        try:
            sock.sendall(_line({**question, "source": os.path.realpath(source)}))
            answer = _read(sock)
        except (OSError, ValueError) as error:
            raise ControlError(f"fetchd gives no answer: {str(error) or type(error).__name__}") from error
    if "error" in answer:
        raise ControlError(str(answer["error"]))
    return answer


def _connected(paths: Sequence[Path]) -> socket.socket:
    refused = ""
    for path in paths:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(_SECONDS)
        try:
            sock.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):  # the latter: of a daemon that was killed
            sock.close()
        except OSError as error:
            sock.close()
            refused = refused or f"{path}: {error.strerror or error}"
        else:
            return sock
    if refused:
        raise ControlError(f"fetchd cannot be asked: {refused}; ask as root, or as the user that it runs as")
    raise ControlError(f"no fetchd runs with this configuration: nobody listens at {' or '.join(map(str, paths))}")


def _user(peer: socket.socket) -> int:
    _, user, _ = _CREDENTIALS.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return int(user)


def _line(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document).encode() + b"\n"


def _read(sock: socket.socket) -> dict[str, Any]:
    """Returns the document of one line.

    Raises:
        OSError: the line broke, or the time is up.
        ValueError: that is no document.
    """
    received = bytearray()
    while not received.endswith(b"\n"):
        octets = sock.recv(65536)
        received += octets
        if not octets or len(received) > _LIMIT:
            raise ValueError("the line ended too early" if not octets else "the line is too long")
    document = json.loads(received)
    if not isinstance(document, dict):
        raise ValueError("that is no question")  # noqa: TRY004 - what is wrong is what was sent
    return document
