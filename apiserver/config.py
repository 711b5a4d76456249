"""Every setting of the server, and where its value came from.

Sources, later ones win: the defaults below, the file of `--config` (TOML), `SKEP_*` variables, flags. A setting has one dotted
name, which gives the other two: `limits.body_bytes` is the key `body_bytes` of the table `[limits]`, and
`SKEP_LIMITS_BODY_BYTES`.

Whatever is wrong is found before anything is started, all of it at once, each in one line that names the place and what is
allowed there. Settings are frozen: nothing changes them later.
"""

from __future__ import annotations

import math
import re
import tomllib
import types
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from apiserver.flow import wrong_rates
from apiserver.sections import (
    Actors,
    Audit,
    Authentication,
    Events,
    Flow,
    History,
    Insight,
    Limits,
    Log,
    Oidc,
    Tls,
    Tokens,
    Watch,
    Webhooks,
)

PREFIX = "SKEP_"
NOT_SETTINGS = frozenset({"SKEP_CONFIG", "SKEP_DEBUG"})


class StartError(Exception):
    """The server cannot start, or a command cannot do its work, for a reason that a person can mend.

    `message` is one line that says what is wrong, `hint` one that says what to do. `exit_code` is 1 for what is wrong on the
    machine, 2 for what was asked wrongly. It is shown without a traceback.
    """

    def __init__(self, message: str, hint: str = "", *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code

    def lines(self) -> list[str]:
        """What is shown: one line for each thing that is wrong, and the hint."""
        shown = [f"error: {line}" for line in self.message.splitlines()]
        return [*shown, f"hint: {self.hint}"] if self.hint else shown


class ConfigError(StartError):
    """Settings are wrong. `problems` has a line for each."""

    def __init__(self, problems: Sequence[str], hint: str = "") -> None:
        super().__init__("\n".join(problems), hint, exit_code=2)
        self.problems = tuple(problems)


class Address(NamedTuple):
    """Where to listen. Port 0: any that is free."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings, complete and checked: paths are absolute, `database_url` is never empty."""

    listen: Annotated[Address, Meta(description="Where the API is served, over TLS. Port 0 takes any that is free.")] = Address(
        "127.0.0.1", 7443
    )
    data_dir: Annotated[
        Path, Meta(description="Folder for the database, the certificates, the admin token and the kubeconfig. Made when missing.")
    ] = Path("skep-data")
    database_url: Annotated[
        str, Meta(description="`sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST/NAME`. Empty: `skep.db` in the data folder.")
    ] = ""
    plugins: Annotated[
        tuple[str, ...], Meta(description="Files, modules or entry points (group `skep.plugins`); `FILE:NAME` picks one value.")
    ] = ()
    shutdown_grace_seconds: Annotated[
        float, Meta(ge=0, le=3600, description="How long requests and actors that are at work may go on after SIGTERM.")
    ] = 4.0
    log: Log = Log()
    tls: Tls = Tls()
    tokens: Tokens = Tokens()
    oidc: Oidc = Oidc()
    authentication: Authentication = Authentication()
    limits: Limits = Limits()
    watch: Watch = Watch()
    history: History = History()
    insight: Insight = Insight()
    events: Events = Events()
    actors: Actors = Actors()
    webhooks: Webhooks = Webhooks()
    audit: Audit = Audit()
    flow: Flow = Flow()


class Setting(NamedTuple):
    """One setting, as it is documented. `kind` is its type, `meta` its bounds and description."""

    name: str
    kind: Any
    meta: Meta
    default: Any

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return PREFIX + self.name.replace(".", "_").upper()

    @property
    def allowed(self) -> str:
        """What its value may be."""
        if get_origin(self.kind) is Literal:
            return "one of " + ", ".join(get_args(self.kind))
        if self.kind in (int, float):
            low = f"above {self.meta.gt}" if self.meta.ge is None else f"from {self.meta.ge}"
            high = "" if self.meta.le is None else f" to {self.meta.le}"
            return f"a {'whole number' if self.kind is int else 'number'} {low}{high}"
        if self.kind is bool:
            return "true or false"
        if self.kind is Address:
            return "HOST:PORT, as 127.0.0.1:7443, 0.0.0.0:7443 or [::1]:0"
        if get_origin(self.kind) is tuple:
            return "a list of texts (in a variable: separated by commas)"
        return "a text" if self.kind is str else "a path"


def catalog() -> tuple[Setting, ...]:
    """Every setting there is, in the order of the documentation."""
    return tuple(_settings_of(Settings, ""))


def load(*, flags: Mapping[str, Any], environ: Mapping[str, str], config: Path | None, cwd: Path) -> Settings:
    """The settings from all sources. `flags` maps dotted names to values; None is a flag that was not given.

    Paths in the file are relative to the file, all others to `cwd`. Raises ConfigError.
    """
    known = {setting.name: setting for setting in catalog()}
    problems: list[str] = []
    if config is None and environ.get("SKEP_CONFIG"):
        config = Path(environ["SKEP_CONFIG"])
    given: dict[str, Any] = {}
    for name, value, origin, base in (
        *(_from_file(config, cwd, known, problems) if config else ()),
        *((name, environ[s.variable], s.variable, cwd) for name, s in known.items() if environ.get(s.variable)),
        *((name, value, _flag(name), cwd) for name, value in flags.items() if value is not None),
    ):
        if name not in known:
            problems.append(f"{origin}: unknown setting {name!r}{_suggestion(name, known)}")
            continue
        try:
            given[name] = _value(known[name], value, base)
        except ValueError as error:
            problems.append(f"{origin}: {error}; allowed: {known[name].allowed}")
    for cert, key in (("tls.cert", "tls.key"), ("webhooks.client_cert", "webhooks.client_key")):
        if (cert in given) != (key in given):
            problems.append(f"{cert} and {key} go together: only one of them is set")
    problems += wrong_rates(given.get("flow.rates", ()))
    if problems:
        raise ConfigError(problems)
    return _complete(given, cwd)


def misspelt(environ: Mapping[str, str]) -> list[str]:
    """A line for each `SKEP_*` variable that is no setting but nearly one.

    Others are not ours to judge: Kubernetes itself sets such variables for a service of this name (`SKEP_SERVICE_HOST`).
    """
    known = {setting.variable for setting in catalog()} | NOT_SETTINGS
    return [
        f"the variable {name} is not used; did you mean {near[0]}?"
        for name in sorted(environ)
        if name.startswith(PREFIX) and name not in known and (near := get_close_matches(name, known, 1, 0.85))
    ]


def names_a_file(plugin: str) -> bool:
    """Whether a plugin is given as a file (`probes.py`, `./probes.py:plugin`), and not as a module or an entry point."""
    return "/" in plugin or plugin.partition(":")[0].endswith(".py")


def _settings_of(struct: type[msgspec.Struct], prefix: str) -> Iterator[Setting]:
    hints = get_type_hints(struct, include_extras=True)
    for field in msgspec.structs.fields(struct):
        hint = hints[field.name]
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            yield from _settings_of(hint, f"{prefix}{field.name}.")
            continue
        kind, meta = get_args(hint)
        yield Setting(prefix + field.name, kind, meta, field.default)


def _from_file(path: Path, cwd: Path, known: Mapping[str, Setting], problems: list[str]) -> Iterator[tuple[str, Any, str, Path]]:
    """Name, value, origin and base folder of everything in the file."""
    try:
        text = (cwd / path).read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        problems.append(f"{path}: not TOML: {error}")
        return
    except UnicodeDecodeError:
        problems.append(f"{path}: not UTF-8 text")
        return
    except OSError as error:
        problems.append(f"{path}: cannot be read: {error.strerror}")
        return
    lines = _lines(text)
    tables = {name.partition(".")[0] for name in known if "." in name}
    for key, value in document.items():
        within = isinstance(value, dict) and key in tables
        for name, item in {f"{key}.{inner}": item for inner, item in value.items()}.items() if within else ((key, value),):
            line = lines.get(name) or lines.get(key)
            yield name, item, f"{path}:{line}" if line else f"{path}: {name}", (cwd / path).parent


def _lines(text: str) -> dict[str, int]:
    """The line on which each key of a TOML document is set."""
    found: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[+\s*([^\]]+?)\s*\]", line):
            table = header[1].replace('"', "").replace("'", "")
            found.setdefault(table, number)
            table += "."
        elif key := re.match(r"\s*([\w.\"'-]+)\s*=", line):
            found.setdefault(table + key[1].replace('"', "").replace("'", ""), number)
    return found


def _flag(name: str) -> str:
    own = {
        "plugins": "--plugin",
        "shutdown_grace_seconds": "--shutdown-grace",
        "tls.names": "--tls-name",
        "listen": "--listen",
        "data_dir": "--data-dir",
        "database_url": "--database-url",
        "actors.run": "--no-actors",
    }
    dashed = "--" + name.replace(".", "-")
    return own.get(name) or (dashed if name.startswith(("log.", "tls.")) else f"--set {name}")


def _suggestion(name: str, known: Mapping[str, Setting]) -> str:
    candidates = {*known, *(full.rpartition(".")[2] for full in known)}
    near = get_close_matches(name.replace("-", "_"), candidates, 1, 0.6)
    if not near:
        return ""
    full = near[0] if near[0] in known else next(item for item in known if item.endswith("." + near[0]))
    return f"; did you mean {full!r}?"


def _value(setting: Setting, value: Any, base: Path) -> Any:
    """The value as the setting's type. ValueError says what is wrong with it."""
    kind = setting.kind
    shown = f"{value!r} is not a value of {setting.name}"
    if get_origin(kind) is tuple:
        items = [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value
        if not isinstance(items, Sequence) or not all(isinstance(item, str) and item for item in items):
            raise ValueError(shown)
        return tuple(_plugin(item, base) for item in items) if setting.name == "plugins" else tuple(items)
    if kind is Address:
        return _address(value, shown)
    if kind in (Path, types.UnionType) or get_origin(kind) is types.UnionType:
        if not isinstance(value, str | Path) or not str(value):
            raise ValueError(shown)
        return _absolute(Path(value), base)
    if kind in (int, float) and isinstance(value, str | float) and not _finite(value):
        raise ValueError(shown)
    try:
        return msgspec.convert(value, Annotated[kind, setting.meta], strict=not isinstance(value, str))
    except msgspec.ValidationError:
        raise ValueError(shown) from None


def _finite(value: str | float) -> bool:
    try:
        return math.isfinite(float(value))
    except ValueError:
        return False


def _address(value: Any, shown: str) -> Address:
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.%\w]+)\]|([^:\[\]\s]+)):(\d{1,5})", value) if isinstance(value, str) else None
    if match is None or int(match[3]) > 65535:
        raise ValueError(shown)
    return Address(match[1] or match[2], int(match[3]))


def _absolute(path: Path, base: Path) -> Path:
    return (base / path.expanduser()).absolute()


def _plugin(plugin: str, base: Path) -> str:
    if not names_a_file(plugin):
        return plugin
    path, colon, name = plugin.partition(":")
    return f"{_absolute(Path(path), base)}{colon}{name}"


def _complete(given: Mapping[str, Any], cwd: Path) -> Settings:
    """Settings from what was given, by dotted name; the rest are defaults."""
    top = {name: value for name, value in given.items() if "." not in name}
    tables: dict[str, dict[str, Any]] = {}
    for name, value in given.items():
        table, dot, field = name.partition(".")
        if dot:
            tables.setdefault(table, {})[field] = value
    hints = get_type_hints(Settings)
    settings = Settings(**top, **{table: hints[table](**values) for table, values in tables.items()})
    data_dir = _absolute(settings.data_dir, cwd)
    url = settings.database_url or f"sqlite:///{data_dir / 'skep.db'}"
    return msgspec.structs.replace(settings, data_dir=data_dir, database_url=url)
