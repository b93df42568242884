"""``fetchd init``: the files are written, the account is tried, and what comes next is said."""

import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from pwd import struct_passwd

import click

from fetchd.cli.init.credentials import Login
from fetchd.cli.init.interview import Interview
from fetchd.config import find_config, placing
from fetchd.config.paths import default_state, system_config
from fetchd.config.units import format_duration
from fetchd.config.writing import NewAccount, new_file, with_account
from fetchd.errors import ConfigError, FetchdError
from fetchd.model import Secret


def write(
    path: Path, account: NewAccount, login: Login, *, add: bool, interview: Interview, environ: Mapping[str, str]
) -> None:
    """Writes the secrets, each into a file of its own, and then the configuration; or nothing at all.

    Raises:
        FetchdError: something cannot be written, or the loader does not accept what would be.
    """
    service = placing.service_of(path)
    beside = path.absolute().parent
    made: list[Path] = []

    def place(name: str, secret: Secret) -> str:
        made.append(placing.place_password(beside, name, secret.reveal(), service))
        return str(made[-1].relative_to(beside))

    try:
        placing.make_directory(beside, service)
        mapping = dict(login.mapping)
        if login.password is not None:
            mapping["file"] = place(account.name, login.password)
        if login.client_secret is not None:
            mapping["client_secret"] = {"file": place(f"{account.name}.client", login.client_secret)}
        whole = replace(account, secret=(login.key, mapping))
        if add:
            text, seen = placing.read(path)
            placing.place_over(path, with_account(text, whole, path), seen, environ=environ)
        else:
            _place_new(path, whole, service, environ=environ)
    except placing.UnsureError:
        raise  # the configuration is there, and names the secrets
    except BaseException as error:
        for file in made:
            placing.remove(file)
        if isinstance(error, ConfigError):
            raise ConfigError(
                *error.problems, f"{path}: nothing was written, for that is what would stand in it"
            ) from None
        raise
    interview.say(f"\n{path}: the account {account.name} is in it.")
    for file in made:
        interview.say(f"{file}: the secret, which only its owner can read.")


def _place_new(path: Path, account: NewAccount, service: struct_passwd | None, *, environ: Mapping[str, str]) -> None:
    """Where it is the system's, the store is named: root's own fetchd --once would find another one."""
    state = default_state({}) if path.absolute() == system_config() else None
    placing.place_new(path, new_file(account, state=state), environ=environ, service=service)
    if state is not None and service is not None:
        placing.make_state_directory(state.parent, service)


def finish(path: Path, account: NewAccount, login: Login, *, interview: Interview, environ: Mapping[str, str]) -> int:
    """Offers a first try, and says what comes next; returns the exit code."""
    named = ("fetchd",) if _is_found(path, environ) else ("fetchd", "-c", str(path))
    trial = ("check", "--connect", "-a", account.name)
    code = 0
    left: list[tuple[str, ...]] = [trial]
    if login.key == "oauth":
        left = [("login", account.name), trial]
    elif (
        interview.terminal
        and _can_connect()
        and interview.sure("Try it now? (logs in, fetches nothing)", proposed=True)
    ):
        interview.say()
        code = _run(path, trial)
        interview.say()
        left = [] if code == 0 else left
    interview.say("Next:" if code == 0 else "The configuration stands, but the try failed. Next:")
    if "env" in login.mapping:
        interview.say(f"  export {login.mapping['env']}=…")
    for words in left:
        interview.say(f"  {shlex.join((*named, *words))}")
    _say_how_to_run(path, shlex.join(named), account, interview=interview)
    return code


def _say_how_to_run(path: Path, command: str, account: NewAccount, *, interview: Interview) -> None:
    if placing.service_of(path) is not None:
        owner = str(account.deliver.get("owner", "")).partition(":")[0]
        if owner not in {"", placing.SERVICE_USER}:
            interview.say(
                f"The service runs as {placing.SERVICE_USER}, and only root can deliver as {owner}: before the next "
                "steps, see the head of systemd/fetchd.service for a service of root's, whose files must be root's too."
            )
        # As that user, for what root fetches would be root's: the store, and the mail.
        interview.say(f"  runuser -u {placing.SERVICE_USER} -- {command} --once    # one poll")
        interview.say(
            "  systemctl enable --now fetchd              # the service; systemctl reload fetchd where it runs"
        )
        return
    interview.say(f"  {command} --once    # one poll")
    interview.say(f"  {command}           # one every {format_duration(account.interval)}, until Ctrl-C")
    interview.say("As a service: docs/systemd.md; in a container: docs/docker.md.")


def _is_found(path: Path, environ: Mapping[str, str]) -> bool:
    """Whether fetchd finds this file by itself."""
    with suppress(ConfigError):
        return find_config(None, environ).absolute() == path.absolute()
    return False


def _can_connect() -> bool:
    from fetchd.cli.check import check  # noqa: PLC0415 - with what it needs, once it is offered

    return any("--connect" in parameter.opts for parameter in check.params)


def _run(path: Path, words: Sequence[str]) -> int:
    """Returns the exit code of another command of ours, run in this process."""
    from fetchd.cli import EXIT_FAILED, cli  # noqa: PLC0415 - it imports this module's command

    try:
        return cli.main(args=["-c", str(path), *words], prog_name="fetchd", standalone_mode=False) or 0
    except FetchdError as error:
        click.echo(f"fetchd: {error}", err=True)
        return EXIT_FAILED
