"""What is made from other sources: it is current, it is complete, and the programs that read it have nothing to say."""

import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import click
import pytest

from fetchd.cli import cli, roff
from fetchd.cli.manual import ENVIRONMENT, EXIT_CODES, FILES, SIGNALS, files, main
from fetchd.config.reference import reference
from fetchd.config.schema import AccountKeys, FileKeys

ROOT = Path(__file__).parents[2]
PAGES = ["docs/man/fetchd.1", "docs/man/fetchd.yaml.5"]


@pytest.mark.parametrize("name", files())
def test_what_is_made_is_current(name: str) -> None:
    made, there = files()[name], (ROOT / name).read_text(encoding="utf-8")
    assert there == made, f"{name} is not what its sources say: make reference"


def test_it_is_written_where_it_belongs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["manual", str(tmp_path)])
    main()
    assert {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()} == set(files())


def test_the_pages_are_in_the_wheel() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    assert build["wheel"]["shared-data"] == {
        "docs/man/fetchd.1": "share/man/man1/fetchd.1",
        "docs/man/fetchd.yaml.5": "share/man/man5/fetchd.yaml.5",
    }


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(
    "argv", [["mandoc", "-Tlint"], ["groff", "-man", "-ww", "-Tutf8", "-z"]], ids=lambda argv: argv[0]
)
def test_a_page_is_read_without_a_warning(argv: list[str], page: str) -> None:
    if shutil.which(argv[0]) is None:
        pytest.skip(f"needs {argv[0]}")
    told = subprocess.run([*argv, str(ROOT / page)], capture_output=True, text=True, timeout=60, check=False)
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_comes_out_as_it_was_meant(page: str) -> None:
    """An escape too many or too few would show."""
    if shutil.which("groff") is None:
        pytest.skip("needs groff")
    argv = ["groff", "-man", "-Tutf8", "-P-cbou", "-rLL=100n", str(ROOT / page)]
    shown = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "\\" not in shown
    wanted = ["--textfile FILE.prom", "XDG_CONFIG_HOME"] if page.endswith("1") else ["{maildir: /home/alice/Maildir}"]
    for text in [*wanted, "…"]:
        assert text in shown


def test_every_command_and_every_option_is_told_of() -> None:
    page = files()["docs/man/fetchd.1"]
    with click.Context(cli, info_name="fetchd") as context:
        commands = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    for name, command in commands.items():
        assert command is not None
        assert f'.SS "fetchd {name}' in page
        for parameter in command.params:
            for option in parameter.opts if isinstance(parameter, click.Option) else ():
                assert roff.escaped(option) in page, (name, option)
    for term in (*EXIT_CODES, *SIGNALS, *ENVIRONMENT, *FILES):
        assert f"\\fB{roff.escaped(term)}\\fP" in page


def test_every_key_is_explained_with_an_example() -> None:
    sections = list(reference())
    told = {section.title: {key.name for key in section.keys} for section in sections}
    assert told[""] == set(FileKeys.model_fields)
    assert told["account"] == set(AccountKeys.model_fields)
    for section in sections:
        for key in section.keys:
            assert key.meaning
            assert key.type
            assert f"{key.name}: " in key.example
            assert key.below in told


def test_a_text_stays_as_it_is() -> None:
    assert roff.inline(".dot, 'quote', back\\slash, -x and `code-span`") == (
        "\\&.dot, 'quote', back\\eslash, \\-x and \\fBcode\\-span\\fP"
    )
    assert roff.inline("…") == "\\[u2026]"


@pytest.mark.skipif(shutil.which("man") is None, reason="needs man")
def test_man_shows_a_page(tmp_path: Path) -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "MANPAGER": "cat",
        "LANG": "C.UTF-8",
        "MANWIDTH": "80",
        "HOME": str(tmp_path),
    }
    argv = ["man", "-l", str(ROOT / PAGES[0])]
    told = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=60, check=True)
    assert "fetchd check" in told.stdout
    assert told.stderr == ""
