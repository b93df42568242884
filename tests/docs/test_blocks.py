"""Every fenced block of README.md and docs/ is run, read, or named in decisions.py with its reason."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import yaml

from tests.docs.configurations import errors
from tests.docs.decisions import DECISIONS, After, Asks, Elsewhere, Stays
from tests.docs.pages import ROOT, Block, all_blocks, blocks, pages
from tests.docs.sandbox import HOSTS, MESSAGES, PASSWORD, USERS, Sandbox
from tests.servers.dovecot import Dovecot
from tests.servers.pki import TestAuthority

BLOCKS: Final = all_blocks()
HANDLED: Final = {"sh", "yaml", "python", "ini"}
FILE_NAME: Final = re.compile(r"# ([\w.~/-]+\.ya?ml)\n")
"""A YAML block that begins so is a file of that name."""


def of(*languages: str) -> list[Block]:
    """The blocks of a language that are neither run elsewhere nor only shown."""
    return [block for block in BLOCKS if block.language in languages and not is_elsewhere(block)]


def is_elsewhere(block: Block) -> bool:
    return isinstance(DECISIONS.get(block.key), Elsewhere)


def is_compose(block: Block) -> bool:
    """Whether it is a file for Docker Compose."""
    return block.language == "yaml" and "services" in yaml.safe_load(block.text)


def is_run(block: Block) -> bool:
    return block.language in {"sh", "python"} and not is_elsewhere(block)


@pytest.fixture(scope="module")
def server(authority: TestAuthority) -> Iterator[Dovecot]:
    """A server whose certificate has every name that a page's commands connect to."""
    with Dovecot(authority, names=HOSTS) as dovecot:
        for user in USERS:
            dovecot.add_user(user, PASSWORD)
        yield dovecot


@pytest.fixture
def sandbox(server: Dovecot, authority: TestAuthority, tmp_path: Path) -> Iterator[Sandbox]:
    for user in USERS:
        for message in MESSAGES:
            server.put(user, message)
    sandbox = Sandbox(tmp_path, server, authority.ca_file)
    yield sandbox
    sandbox.kill()


# ── the table ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_block_is_run_or_read_or_has_a_decision(block: Block) -> None:
    assert block.language in HANDLED or block.key in DECISIONS, f"{block}: say in decisions.py what becomes of it"


def test_every_decision_is_on_a_block_that_is_there() -> None:
    known = [block.key for block in BLOCKS]
    assert [key for key in DECISIONS if known.count(key) != 1] == []


def test_what_runs_elsewhere_does() -> None:
    targets = re.findall(r"^([a-z-]+):.* ## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    there = [one.run_by for one in DECISIONS.values() if isinstance(one, Elsewhere)]
    assert [name for name in there if name.removeprefix("make ") not in targets and not (ROOT / name).exists()] == []


# ── commands and programs ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("page", [page for page in pages() if any(map(is_run, blocks(page)))])
def test_what_a_page_tells_to_do_works(page: str, sandbox: Sandbox) -> None:
    """From the top of the page to its end, as in one terminal."""
    for block in blocks(page):
        file = FILE_NAME.match(block.text) if block.language == "yaml" else None
        if file and not is_elsewhere(block):
            sandbox.write(file[1], block.text)
        if is_run(block):
            run(block, sandbox)
    assert set(sandbox.stop()) <= {0}


def run(block: Block, sandbox: Sandbox) -> None:
    decision = DECISIONS.get(block.key, After())
    if isinstance(decision, Stays):
        sandbox.start(block.text, until=decision.until)
        return
    code = 0
    if isinstance(decision, Asks):
        ended = sandbox.interview(block.text, decision.answers)
    else:
        assert isinstance(decision, After), f"{block}: {decision}"
        if decision.before:
            prepared = sandbox.shell(decision.before)
            assert prepared.code == 0, f"{block}: {prepared.output}"
        ended = sandbox.python(block.text) if block.language == "python" else sandbox.shell(block.text)
        code = decision.code
    assert ended.code == code, f"{block}:\n{block.text}\nended with {ended.code}, and said:\n{ended.output}"


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "sh"], ids=str)
def test_a_shell_can_read_it(block: Block) -> None:
    """That at least is tried of commands that are run elsewhere."""
    read = subprocess.run(["sh", "-n"], input=block.text, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (read.returncode, read.stderr) == (0, "")


# ── configurations ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("block", [block for block in of("yaml") if not is_compose(block)], ids=str)
def test_fetchd_reads_the_configuration(block: Block, tmp_path: Path) -> None:
    assert errors(block.text, tmp_path / "fetchd.yaml") == ()


@pytest.mark.parametrize("block", list(filter(is_compose, BLOCKS)), ids=str)
def test_a_compose_file_runs_fetchd_hardened_and_keeps_its_store(block: Block) -> None:
    """As config/compose.yaml does, which tests/image runs; docker compose itself is not asked."""
    compose = yaml.safe_load(block.text)
    service = compose["services"]["fetchd"]
    hardened = yaml.safe_load((ROOT / "config/compose.yaml").read_text())["x-hardened"]
    assert hardened.items() <= service.items()
    volumes = [volume.partition(":") for volume in service["volumes"]]
    (store,) = [source for source, _, path in volumes if path == "/var/lib/fetchd"]
    assert {source for source, _, _ in volumes if not source.startswith(".")} <= set(compose["volumes"])
    assert store in compose["volumes"]


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("**/fetchd*.yaml")), ids=lambda path: path.parent.name)
def test_fetchd_reads_the_examples_of_config(path: Path, tmp_path: Path) -> None:
    assert errors(path.read_text(), tmp_path / "fetchd.yaml") == ()


@pytest.mark.parametrize("block", of("ini"), ids=str)
@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing: apt-get install systemd"
)
def test_systemd_reads_the_drop_in(block: Block, tmp_path: Path) -> None:
    """``verify`` exits 0 on a misspelt key: its silence is what counts."""
    unit = tmp_path / "fetchd.service"
    unit.write_text((ROOT / "systemd/fetchd.service").read_text().replace("=/usr/bin/fetchd", "=/bin/true"))
    drop_in = tmp_path / "fetchd.service.d/override.conf"
    drop_in.parent.mkdir()
    drop_in.write_text(block.text)
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SYSTEMD_LOG_LEVEL": "notice", "LC_ALL": "C.UTF-8"},
    )
    assert (verified.returncode, verified.stdout) == (0, "")
