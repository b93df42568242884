"""A soak: the real daemon, everything that may happen to it, and what it holds all the while."""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.running import Running, http_get, write_config
from tests.soak.scene import Scene, scene
from tests.soak.watch import Sample, complaints, look

ROUND: Final = 0.5
"""Seconds between two looks at what is to be done; a pace, which nothing is concluded from."""
SAMPLE_EVERY, PROMPT_EVERY, RELOAD_EVERY, MOVE_EVERY, AWAY = 4, 5, 24, 40, 6
"""In rounds. SIGUSR1 wakes those that back off or are on hold, else most faults would be met a few times in all."""
GUESTS: Final = ("real01", "real05", "reset-body", "stls-refused")
"""Accounts that reloads take out and put back."""
MOVED: Final = ("real00", "real06", "closed-body")
"""Accounts whose Maildir goes away and comes back."""
SETTLE_ROUNDS: Final = 400


@dataclass(slots=True)
class Outcome:
    """What a run came to.

    Attributes:
        polls: by outcome, as /metrics counted them.
        events: how often each event was logged.
        wrong: whatever must not be, in words.
        accounts, messages, octets: how many there were, and how much mail was sent.
        reloads, moves, prompts: how often SIGHUP was sent, a Maildir taken away, SIGUSR1 sent.
        code: the exit code.
    """

    samples: list[Sample] = field(default_factory=list)
    polls: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    accounts: int = 0
    messages: int = 0
    octets: int = 0
    reloads: int = 0
    moves: int = 0
    prompts: int = 0
    code: int | None = None

    @property
    def flat(self) -> list[str]:
        """What is no flat line."""
        return complaints(self.samples)


class Soak:
    """One run in an empty directory; see :meth:`run`."""

    def __init__(self, home: Path, *, polls: int, seed: int = 6, say: Callable[[str], None] = lambda _: None) -> None:
        self._home = home
        self._store = home / "state" / "fetchd.db"
        self._polls = polls
        self._chance = random.Random(seed)
        self._say = say
        self._last: dict[tuple[str, str], float] = {}
        self._away: Path | None = None
        self._out: set[str] = set()
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """Returns when so many polls have ended, all mail has arrived, and the daemon is gone."""
        with scene(self._home) as world:
            self.outcome.accounts = len(world.boxes)
            self._configure(world)
            with Running(self._home, ["-c", str(self._home / "fetchd.yaml")]) as daemon:
                (listening,) = daemon.wait_for_event("http.listening")
                daemon.wait_for_event("daemon.started")
                self._trouble(world, daemon, listening["address"])
                self._settle(world, daemon)
                self.outcome.code = daemon.stop()
            self._judge(world, daemon)
        return self.outcome

    # ── while it runs ────────────────────────────────────────────────────────────────────────────────────────────

    def _trouble(self, world: Scene, daemon: Running, address: str) -> None:
        began = time.monotonic()
        number = 0
        while self.outcome.polls.total() < self._polls:
            time.sleep(ROUND)
            assert daemon.process.poll() is None, f"the daemon ended:\n{daemon.log[-5000:]}"
            for box in world.boxes.values():
                if self._chance.random() < box.rate:
                    box.send(self._chance)
            self._happen(number, world, daemon)
            if number % SAMPLE_EVERY == 0:
                self._sample(daemon, address, time.monotonic() - began)
            number += 1

    def _happen(self, number: int, world: Scene, daemon: Running) -> None:
        if number % PROMPT_EVERY == 0:
            daemon.signal(signal.SIGUSR1)
            self.outcome.prompts += 1
        if number % RELOAD_EVERY == RELOAD_EVERY // 2:
            self._out = set(self._chance.sample(GUESTS, self._chance.randrange(len(GUESTS))))
            self._configure(world)
            daemon.signal(signal.SIGHUP)
            self.outcome.reloads += 1
        if number % MOVE_EVERY == MOVE_EVERY // 4:
            self._move_away(world)
        if number % MOVE_EVERY == MOVE_EVERY // 4 + AWAY:
            self._move_back()

    def _configure(self, world: Scene) -> None:
        accounts: dict[str, dict[str, Any]] = {
            name: box.keys | ({"session_timeout": f"{self._chance.randrange(60, 90)}s"} if name in MOVED else {})
            for name, box in world.boxes.items()
            if name not in self._out
        }
        write_config(self._home, accounts, http="127.0.0.1:0", workers=32, sessions_per_host=32)

    def _move_away(self, world: Scene) -> None:
        maildir = world.boxes[self._chance.choice(MOVED)].maildir
        if maildir.exists():
            maildir.rename(maildir.with_suffix(".away"))
            self._away = maildir
            self.outcome.moves += 1

    def _move_back(self) -> None:
        if self._away is not None:
            if self._away.exists():
                self.outcome.wrong.append(f"{self._away} was made anew while the Maildir was away")
            self._away.with_suffix(".away").rename(self._away)
            self._away = None

    def _sample(self, daemon: Running, address: str, seconds: float) -> None:
        # Whoever shows the page, or asks for the status, is part of the load.
        http_get(address, "/")
        http_get(address, "/status")
        for family in text_string_to_metric_families(http_get(address, "/metrics")):
            for sample in family.samples:
                if sample.name == "fetchd_polls_total":
                    self._count(sample.labels["account"], sample.labels["outcome"], sample.value)
        polls = self.outcome.polls.total()
        self.outcome.samples.append(look(daemon.process.pid, self._store, seconds=seconds, polls=polls))
        self._say(str(self.outcome.samples[-1]))

    def _count(self, account: str, outcome: str, value: float) -> None:
        # A counter of an account that a reload took out begins at nought when it comes back.
        before = self._last.get((account, outcome), 0.0)
        self.outcome.polls[outcome] += int(value - before if value >= before else value)
        self._last[account, outcome] = value

    # ── its end ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _settle(self, world: Scene, daemon: Running) -> None:
        """Ends all trouble, and waits until what was sent is there."""
        world.faulty = False
        self._move_back()
        self._out = set()
        self._configure(world)
        daemon.signal(signal.SIGHUP)
        for number in range(SETTLE_ROUNDS):
            if all(len(box.arrived) >= len(box.sent) for box in world.boxes.values()):
                return
            if number % PROMPT_EVERY == 0:
                daemon.signal(signal.SIGUSR1)
            time.sleep(ROUND)

    def _judge(self, world: Scene, daemon: Running) -> None:
        wrong = self.outcome.wrong
        for box in world.boxes.values():
            sent, arrived = Counter(box.sent), Counter(box.arrived)
            self.outcome.messages += len(box.sent)
            self.outcome.octets += sum(map(len, box.sent))
            if sent - arrived:
                wrong.append(f"{box.name}: {(sent - arrived).total()} of {len(box.sent)} messages are missing")
            if arrived - sent:
                wrong.append(f"{box.name}: {(arrived - sent).total()} files too many")
            left = [path for path in (box.maildir / "tmp").rglob("*") if path.is_file() and path.suffix != ".lock"]
            if left:
                wrong.append(f"{box.name}: {len(left)} files are left in tmp/")
        wrong += [f"on the line: {what}" for server in world.servers for what in server.violations]
        if self.outcome.code != 0:
            wrong.append(f"SIGTERM: exit code {self.outcome.code}")
        log = daemon.log
        self.outcome.events.update(
            line.partition('"event": "')[2].partition('"')[0] or line.partition('"event":"')[2].partition('"')[0]
            for line in log.splitlines()
        )
        if "Traceback" in log:
            wrong.append("there is a traceback in the log")
