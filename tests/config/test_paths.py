"""Where the configuration and the state are looked for."""

from pathlib import Path

import pytest

from fetchd.config import paths
from fetchd.config.paths import Anchor, default_state, find_config
from fetchd.errors import ConfigError


@pytest.fixture(autouse=True)
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A system's configuration that is ours to make."""
    monkeypatch.setattr(paths, "_SYSTEM_CONFIG", tmp_path / "etc/fetchd.yaml")
    (tmp_path / "etc").mkdir()
    return tmp_path / "etc/fetchd.yaml"


def test_the_first_place_that_is_named_wins(tmp_path: Path, system: Path) -> None:
    """DESIGN §5: -c, $FETCHD_CONFIG, $XDG_CONFIG_HOME/fetchd/fetchd.yaml, /etc/fetchd/fetchd.yaml."""
    (tmp_path / "xdg/fetchd").mkdir(parents=True)
    own = tmp_path / "xdg/fetchd/fetchd.yaml"
    environ = {"FETCHD_CONFIG": "/from/env", "XDG_CONFIG_HOME": str(tmp_path / "xdg"), "HOME": "/nowhere"}
    assert find_config(Path("/given"), environ) == Path("/given")
    assert find_config(None, environ) == Path("/from/env")
    del environ["FETCHD_CONFIG"]
    system.touch()
    assert find_config(None, environ) == system
    own.touch()
    assert find_config(None, environ) == own


def test_without_xdg_config_home_it_is_the_homes_config(tmp_path: Path) -> None:
    own = tmp_path / ".config/fetchd/fetchd.yaml"
    own.parent.mkdir(parents=True)
    own.touch()
    assert find_config(None, {"HOME": str(tmp_path)}) == own
    assert find_config(None, {"HOME": str(tmp_path), "XDG_CONFIG_HOME": "relative"}) == own
    assert find_config(None, {"HOME": str(tmp_path), "FETCHD_CONFIG": ""}) == own


def test_a_dangling_link_is_found_so_that_loading_says_what_is_wrong(tmp_path: Path, system: Path) -> None:
    system.symlink_to("nowhere")
    assert find_config(None, {"HOME": str(tmp_path)}) == system


def test_no_configuration_is_an_error_that_lists_the_places(tmp_path: Path, system: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        find_config(None, {"HOME": str(tmp_path)})
    assert str(refused.value) == (
        f"no configuration found: looked for {tmp_path}/.config/fetchd/fetchd.yaml and {system}; "
        "fetchd init writes one, -c FILE names one"
    )


@pytest.mark.parametrize(
    ("environ", "user", "state"),
    [
        ({"STATE_DIRECTORY": "/var/lib/a"}, 1000, "/var/lib/a/fetchd.db"),
        ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, 0, "/var/lib/a/fetchd.db"),
        ({"STATE_DIRECTORY": "/s", "XDG_STATE_HOME": "/x"}, 1000, "/s/fetchd.db"),
        ({"XDG_STATE_HOME": "/x", "HOME": "/h"}, 1000, "/x/fetchd/fetchd.db"),
        ({"XDG_STATE_HOME": "/x", "HOME": "/h"}, 0, "/x/fetchd/fetchd.db"),
        ({"HOME": "/h"}, 1000, "/h/.local/state/fetchd/fetchd.db"),
        ({"HOME": "/h", "XDG_STATE_HOME": "relative"}, 1000, "/h/.local/state/fetchd/fetchd.db"),
        ({"HOME": "/root"}, 0, "/var/lib/fetchd/fetchd.db"),
        ({}, 0, "/var/lib/fetchd/fetchd.db"),
    ],
)
def test_the_state_has_a_place_for_every_way_to_run(
    environ: dict[str, str], user: int, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: user)
    assert default_state(environ) == Path(state)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/a/b", "/a/b"),
        ("b", "/etc/fetchd/b"),
        ("../b", "/etc/fetchd/../b"),
        ("~/b", "/home/u/b"),
        ("~//b", "/home/u/b"),
        ("a~/b", "/etc/fetchd/a~/b"),
    ],
)
def test_a_path_starts_at_the_file_or_at_home(text: str, path: str) -> None:
    assert Anchor(Path("/etc/fetchd"), Path("/home/u")).resolve(text) == Path(path)
