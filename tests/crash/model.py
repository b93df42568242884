"""A file system that keeps what was flushed and nothing more: what a power cut may leave of a run.

It replays the state calls of a real run, as the shim wrote them down, up to any of them, and rebuilds what a disk may
hold then. What it models, which is less than file systems promise and never more:

* octets, and a file's length, are kept once the file was flushed (fsync, fdatasync) or its file system was (syncfs);
* a name (create, mkdir, link, unlink) is kept once its directory was flushed; flushing a file keeps no name of it;
* a rename is atomic: both names change together, and for sure only when both directories were flushed;
* of what was not flushed nothing, everything, or everything but one thing is kept. One thing is one change of names,
  all unflushed octets of one file, or the last of them. The names of a dot lock are not left out singly: no message
  depends on them, and a lock without the mark that makes it fetchd's own is broken only after five minutes.

It does not model octets that turn to garbage, lengths without octets, nor writes that a lying disk reorders beyond a
flush. The power cuts on real file systems (``test_power*.py``) know what this knows not.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final

Tree = dict[str, tuple[int, bytes | None]]
"""Path relative to the root → inode, and octets of a file or None for a directory."""

FLUSHED: Final = "only what was flushed"
_ROOT: Final = 0
_LOCKS: Final = (".lock", ".lock.fetchd")
_UNSAVED: Final = "-shm"
"""SQLite's index of its log is shared memory and not data: it is made anew after a crash."""


@dataclass(eq=False, slots=True)
class Names:
    """A change of names: (directory, name) → inode, or None where the name goes."""

    changes: dict[tuple[int, str], int | None]
    unflushed: set[int]


@dataclass(eq=False, slots=True)
class Octets:
    """A write to an inode, or, without octets, its truncation to ``offset``."""

    inode: int
    offset: int
    octets: bytes | None
    unflushed: set[int]


Change = Names | Octets


@dataclass(slots=True)
class Disk:
    """The file system while the calls are replayed.

    Attributes:
        changes: all, in order.
        sends: how many octets-on-the-wire calls there were.
    """

    root: str
    changes: list[Change] = field(default_factory=list)
    sends: int = 0
    _names: dict[tuple[int, str], int] = field(default_factory=dict)
    _directories: set[int] = field(default_factory=lambda: {_ROOT})
    _inodes: Iterator[int] = field(default_factory=lambda: count(1))

    def call(self, name: str, what: str, data: tuple[int, bytes] | None) -> None:
        """Replays one call."""
        if name == "send":
            self.sends += 1
        elif name in ("rename", "link"):
            source, _, target = what.partition(" -> ")
            self._two_names(name, source, target)
        elif name in ("open", "mkdir", "unlink", "rmdir"):
            self._one_name(name, what)
        elif name == "syncfs":
            self._flush(None)
        elif name in ("fsync", "fdatasync"):
            inode = self._find(what)
            if inode is not None:
                self._flush(inode)
        elif name == "ftruncate":
            length, _, path = what.partition(":")
            self._change_octets(path, int(length), None)
        elif data is not None:
            self._change_octets(what, *data)

    def _one_name(self, name: str, what: str) -> None:
        truncates, what = what.startswith("truncate:"), what.removeprefix("truncate:").removeprefix("new:")
        place = self._place(what)
        if place is None:
            return
        if name in ("unlink", "rmdir"):
            if self._names.pop(place, None) is not None:
                self._change_names({place: None})
        elif place not in self._names:
            inode = next(self._inodes)
            if name == "mkdir":
                self._directories.add(inode)
            self._names[place] = inode
            self._change_names({place: inode})
        elif truncates:
            self._change_octets(what, 0, None)

    def _two_names(self, name: str, source: str, target: str) -> None:
        old, new = self._place(source), self._place(target)
        inode = self._names.get(old) if old is not None else None
        if old is None or new is None or inode is None or (name == "link" and new in self._names):
            return
        self._names[new] = inode
        if name == "rename":
            del self._names[old]
            self._change_names({old: None, new: inode})
        else:
            self._change_names({new: inode})

    def _change_names(self, changes: dict[tuple[int, str], int | None]) -> None:
        self.changes.append(Names(changes, {directory for directory, _ in changes}))

    def _change_octets(self, path: str, offset: int, octets: bytes | None) -> None:
        inode = self._find(path)
        if inode is not None:
            self.changes.append(Octets(inode, offset, octets, {inode}))

    def _flush(self, inode: int | None) -> None:
        for change in self.changes:
            if inode is None:
                change.unflushed.clear()
            else:
                change.unflushed.discard(inode)

    def _place(self, path: str) -> tuple[int, str] | None:
        """Returns directory and name; None where the directory does not exist."""
        parent, _, name = path.rpartition("/")
        directory = self._find(parent)
        return None if directory is None else (directory, name)

    def _find(self, path: str) -> int | None:
        inode: int | None = _ROOT
        for name in path.removeprefix(self.root).split("/"):
            if name and inode is not None:
                inode = self._names.get((inode, name))
        return inode

    def trees(self) -> Iterator[tuple[str, Tree]]:
        """Yields what may be on disk if the power goes now, each with a word on what it is."""
        unsure = [change for change in self.changes if change.unflushed]
        yield FLUSHED, self._tree(without=unsure)
        if unsure:
            yield "everything", self._tree(without=())
        for change in unsure:
            if isinstance(change, Names) and not any(name.endswith(_LOCKS) for _, name in change.changes):
                shown = ", ".join(
                    f"{'-' if inode is None else '+'}{name}" for (_, name), inode in change.changes.items()
                )
                yield f"all but {shown}", self._tree(without=[change])
        writes = [change for change in unsure if isinstance(change, Octets)]
        for inode in dict.fromkeys(write.inode for write in writes):
            own = [write for write in writes if write.inode == inode]
            yield f"all but what was written to inode {inode}", self._tree(without=own)
            if len(own) > 1:
                yield f"all but what was written last to inode {inode}", self._tree(without=own[-1:])

    def _tree(self, *, without: Sequence[Change]) -> Tree:
        names: dict[tuple[int, str], int] = {}
        contents: dict[int, bytearray] = {}
        skipped = set(map(id, without))
        for change in self.changes:
            if id(change) in skipped:
                continue
            if isinstance(change, Names):
                for place, inode in change.changes.items():
                    if inode is None:
                        names.pop(place, None)
                    else:
                        names[place] = inode
            else:
                _write(contents.setdefault(change.inode, bytearray()), change)
        tree: Tree = {}
        self._walk(_ROOT, "", names, contents, tree)
        return tree

    def _walk(
        self, inode: int, path: str, names: dict[tuple[int, str], int], contents: dict[int, bytearray], tree: Tree
    ) -> None:
        for (directory, name), child in names.items():
            if directory != inode or name.endswith(_UNSAVED):
                continue
            if child in self._directories:
                tree[path + name] = child, None
                self._walk(child, f"{path}{name}/", names, contents, tree)
            else:
                tree[path + name] = child, bytes(contents.get(child, b""))


def _write(content: bytearray, change: Octets) -> None:
    if change.octets is None:
        if len(content) > change.offset:
            del content[change.offset :]
        content.extend(bytes(change.offset - len(content)))
        return
    content.extend(bytes(max(0, change.offset - len(content))))
    content[change.offset : change.offset + len(change.octets)] = change.octets


@dataclass(frozen=True, slots=True)
class CrashState:
    """What a power cut before call number ``before`` may leave.

    Attributes:
        before: counted from 1; one beyond the last call is after the run.
        what: what of it is kept.
        tree: the disk.
        sends: how often something had been sent to the server.
    """

    before: int
    what: str
    tree: Tree
    sends: int

    def put(self, root: Path) -> None:
        """Makes it so, in an empty directory."""
        placed: dict[int, Path] = {}
        for path, (inode, octets) in self.tree.items():
            if octets is None:
                (root / path).mkdir(mode=0o700)
            elif inode in placed:
                (root / path).hardlink_to(placed[inode])
            else:
                placed[inode] = root / path
                (root / path).write_bytes(octets)
                (root / path).chmod(0o600)


def crash_states(report: Path, root: Path) -> Iterator[CrashState]:
    """Yields every state that a power cut during a run may leave, each once, from the beginning on."""
    disk = Disk(str(root))
    met: set[tuple[bytes, int]] = set()
    number = 0
    for number, call in enumerate(_calls(report), 1):
        yield from _new_states(disk, number, met)
        disk.call(*call)
    yield from _new_states(disk, number + 1, met)


def _new_states(disk: Disk, before: int, met: set[tuple[bytes, int]]) -> Iterator[CrashState]:
    for what, tree in disk.trees():
        digest = hashlib.blake2b()
        for path, (_, octets) in sorted(tree.items()):
            digest.update(repr((path, octets)).encode())
        key = digest.digest(), disk.sends
        if key not in met:
            met.add(key)
            yield CrashState(before, what, tree, disk.sends)


def _calls(report: Path) -> Iterator[tuple[str, str, tuple[int, bytes] | None]]:
    lines = report.read_text(errors="surrogateescape").splitlines()
    data: dict[str, tuple[int, bytes]] = {}
    for line in lines:
        if line.startswith("DATA "):
            _, number, offset, octets = line.split(" ", 3)
            data[number] = int(offset), bytes.fromhex(octets)
    for line in lines:
        if line.startswith("CALL "):
            _, number, _, name, what = line.split(" ", 4)
            yield name, what, data.get(number)
