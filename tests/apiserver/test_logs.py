"""Logs: one line per event, no secrets, and nothing that stops the server."""

from __future__ import annotations

import json
import logging
import os
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver import logs
from apiserver.logs import AccessLog, Sink, form_of, make_logger, mask_secrets, other_libraries

FORMS: tuple[Literal["json", "console"], ...] = ("json", "console")
EVIL = 'x\n{"level": "error", "event": "forged"}\r\x1b[31m\x9b\x00\u2028y'


class Written:
    """A sink into a file, and what has come out of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.sink = Sink(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)

    def lines(self) -> list[str]:
        """Every line, after the sink is closed."""
        return self.path.read_text(encoding="utf-8").split("\n")[:-1]

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines()]


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Written]:
    log = Written(tmp_path / "log")
    yield log
    log.close()


def record(access: AccessLog, *, name: str = "home", status: int = 200, identity: str = "admin") -> None:
    access.record(identity, "get", "probes.uptime.example", "shop", name, status, 0.0012345)


@pytest.mark.parametrize("form", FORMS)
def test_the_access_log_names_the_credential_and_shows_no_key(written: Written, form: Literal["json", "console"]) -> None:
    with written.sink as sink:
        access = AccessLog(sink, form=form)
        access.record("ann", "get", "", "", "/apis/skep_live_abcdS3CRETs3cret", 404, 0.001, "skep_live_abcd")
        access.record("admin", "get", "", "", "/apis", 200, 0.001)
    first, second = written.lines()
    assert "S3CRET" not in first
    assert "/apis/skep_live_abcd***" in first
    assert ('"credential":"skep_live_abcd"' if form == "json" else "ann (skep_live_abcd) get") in first
    assert "credential" not in second
    assert "(" not in second


@pytest.mark.parametrize("form", FORMS)
def test_the_access_log_shows_no_credential_in_any_part_of_a_path_and_no_more_of_it_than_is_needed(
    written: Written, form: Literal["json", "console"]
) -> None:
    with written.sink as sink:
        access = AccessLog(sink, form=form)
        access.record(
            "ann", "list", "configmaps", "skep_live_abcdS3CRETs3cret", "eyJhbGciOiJF.eyJpc3MiOiJo.S3CRETs3cret", 403, 0.001
        )
        access.record("ann", "get", "", "", "/" + "x" * 60_000, 404, 0.001)
    first, second = written.lines()
    assert "S3CRET" not in first
    assert "skep_live_abcd***" in first
    assert "x..." in second
    assert len(second) < 2_500


@pytest.mark.parametrize(
    "piece", ["-eyJ", "eyJaaaaaaaa.", "eyJaaaaaaaa.-", "token=", "Bearer ", "://a:", "-----BEGIN ", "skep_live_", "a"]
)
def test_what_is_masked_takes_time_that_is_linear_in_the_text(piece: str) -> None:
    """What takes the square of it would go on for many minutes."""
    for pattern, instead in logs.SECRET_TEXTS:
        pattern.sub(instead, piece * (1_500_000 // len(piece)))


def test_a_line_of_json_says_when_how_bad_and_what(written: Written) -> None:
    with written.sink as sink:
        make_logger(sink).info("server started", address="127.0.0.1:7443", kinds=3)
    (event,) = written.events()
    assert list(event) == ["time", "level", "event", "address", "kinds"]
    assert (event["level"], event["event"], event["kinds"]) == ("info", "server started", 3)
    assert event["time"].endswith("Z")


def test_a_line_below_the_level_is_not_written(written: Written) -> None:
    with written.sink as sink:
        logger = make_logger(sink, level="warning")
        logger.info("no")
        logger.warning("yes")
    assert [event["event"] for event in written.events()] == ["yes"]


@pytest.mark.parametrize("form", FORMS)
def test_nobody_can_forge_a_line(written: Written, form: Literal["json", "console"]) -> None:
    with written.sink as sink:
        make_logger(sink, form=form).info(EVIL, **{"fact": EVIL, EVIL: "key", "nested": {"a": [EVIL]}})
        record(AccessLog(sink, form=form), name=EVIL, identity=EVIL)
    lines = written.path.read_bytes().split(b"\n")
    assert len(lines) == 3
    assert lines[2] == b""
    assert not any(char in line for line in lines for char in b"\r\x1b\x00")


@given(st.text())
def test_any_text_in_an_access_line_comes_back_from_json_as_it_was(text: str) -> None:
    with Lines() as lines:
        record(AccessLog(lines), name=text)
    assert json.loads(lines.all[0])["name"] == text


@pytest.mark.parametrize("form", FORMS)
def test_bytes_that_were_no_text_do_not_break_the_access_log(form: Literal["json", "console"]) -> None:
    with Lines() as lines:
        record(AccessLog(lines, form=form), name=b"\xff/x".decode(errors="surrogateescape"))
    assert rb"\udcff/x" in lines.all[0].replace(rb"\\", b"\\")


class Lines(Sink):
    """A sink that keeps its lines."""

    def __init__(self) -> None:
        super().__init__(-1)
        self.all: list[bytes] = []

    def later(self, line: bytes) -> None:
        self.all.append(line)


@pytest.mark.parametrize("form", FORMS)
def test_a_traceback_is_one_event_with_a_bar_before_each_line_on_a_terminal(
    written: Written, form: Literal["json", "console"]
) -> None:
    with written.sink as sink:
        try:
            raise ValueError(EVIL)
        except ValueError:
            make_logger(sink, form=form).exception("reconcile failed", key="shop/home")
    lines = written.lines()
    assert "reconcile failed" in lines[0]
    assert "ValueError" in written.path.read_text()
    if form == "json":
        assert len(lines) == 1
    else:
        assert all(line.startswith("  | ") for line in lines[1:])


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("token", "s3cret", "***"),
        ("admin_token", "s3cret", "***"),
        ("Authorization", "Bearer s3cret", "***"),
        ("password", "s3cret", "***"),
        ("client-secret", "s3cret", "***"),
        ("api_key", b"s3cret", "***"),
        ("token", None, None),
        ("token_file", "/data/admin.token", "/data/admin.token"),
        ("resource", "secrets", "secrets"),
        ("header", "Bearer s3cret.abc", "Bearer ***"),
        ("error", "401 for 'bearer s3cret-abc' sent", "401 for 'bearer ***' sent"),
        ("url", "postgresql://skep:s3cret@db/skep", "postgresql://skep:***@db/skep"),
        ("url", "https://a/b?token=s3cret&x=1", "https://a/b?token=***&x=1"),
        ("pem", "a -----BEGIN EC PRIVATE KEY-----\ns3cret\n-----END EC PRIVATE KEY----- b", "a *** b"),
        ("jwt", "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0x.s3cret", "***"),
        ("error", "no user skep_live_abcdS3CRETs3cret", "no user skep_live_abcd***"),
        ("path", "/x?access_token=S3CRET&client_secret=S3CRET&a=b", "/x?access_token=***&client_secret=***&a=b"),
        ("nested", {"a": {"password": "s3cret", "n": 1}}, {"a": {"password": "***", "n": 1}}),
        ("listed", ["Bearer s3cret", 2], ["Bearer ***", 2]),
        ("error", ValueError("Bearer s3cret"), "Bearer ***"),
        ("count", 3, 3),
    ],
)
def test_secrets_are_masked_and_what_is_none_is_shown(key: str, value: object, shown: object) -> None:
    assert mask_secrets(None, "info", {key: value}) == {key: shown}


@pytest.mark.parametrize("form", FORMS)
def test_no_secret_reaches_the_log_by_any_way(written: Written, form: Literal["json", "console"]) -> None:
    secret = "s3cret"[::-1]  # so that it does not stand in the source lines of a traceback
    with written.sink as sink:
        logger = make_logger(sink, form=form)
        logger.info(f"got Bearer {secret}", token=secret)
        with other_libraries(logger):
            logging.getLogger("some.library").error("sent Bearer %s", secret)
        try:
            raise ValueError(f"Bearer {secret}")
        except ValueError:
            logger.exception("failed")
    text = written.path.read_text()
    assert "ValueError: Bearer ***" in text
    assert secret not in text


def test_other_libraries_log_through_ours_and_quietly(written: Written) -> None:
    with warnings.catch_warnings(), written.sink as sink, other_libraries(make_logger(sink)):
        warnings.simplefilter("default")
        logging.getLogger("some.library").warning("careful with %s", "it")
        logging.getLogger("httpx").info("HTTP Request: GET https://example.com?token=x")
        logging.getLogger("sqlalchemy.engine").info("INSERT INTO objects ...")
        logging.getLogger("uvicorn.access").error("GET /")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        logging.getLogger("some.library").error("%d", "a wrong format string")
    events = [(event["level"], event["logger"]) for event in written.events()]
    assert events == [("warning", "some.library"), ("warning", "py.warnings"), ("error", "some.library")]


def test_what_other_libraries_did_before_they_do_again_afterwards(written: Written) -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.getLogger("httpx").level
    with written.sink as sink, other_libraries(make_logger(sink)):
        assert root.handlers != before[0]
    assert (root.handlers, root.level, logging.getLogger("httpx").level) == before


def test_an_access_line_names_who_did_what_to_which_object_with_what_result(written: Written) -> None:
    with written.sink as sink:
        record(AccessLog(sink, clock=lambda: 1_700_000_000.25))
    assert written.events() == [
        {
            "time": "2023-11-14T22:13:20.250Z",
            "level": "info",
            "event": "request",
            "identity": "admin",
            "verb": "get",
            "resource": "probes.uptime.example",
            "namespace": "shop",
            "name": "home",
            "status": 200,
            "duration_ms": 1.234,
        }
    ]


def test_an_access_line_on_a_terminal_is_text(written: Written) -> None:
    with written.sink as sink:
        access = AccessLog(sink, form="console", clock=lambda: 1_700_000_000.25)
        record(access)
        access.record("", "get", "", "", "/healthz", 500, 0.5)
    assert written.lines() == [
        "2023-11-14T22:13:20.250Z [info    ] admin get probes.uptime.example shop/home 200 1.234ms",
        "2023-11-14T22:13:20.250Z [error   ] - get /healthz 500 500.0ms",
    ]


@pytest.mark.parametrize(("which", "statuses"), [("all", [200, 404, 500]), ("errors", [404, 500]), ("off", [])])
def test_the_access_log_can_be_limited_to_errors_or_switched_off(
    written: Written, which: Literal["all", "errors", "off"], statuses: list[int]
) -> None:
    with written.sink as sink:
        access = AccessLog(sink, which=which)
        for status in (200, 404, 500):
            record(access, status=status)
    assert [event["status"] for event in written.events()] == statuses


def test_lines_come_out_in_order_and_all_of_them(written: Written) -> None:
    with written.sink as sink:
        access = AccessLog(sink)
        logger = make_logger(sink)
        for number in range(3000):
            record(access, name=str(number)) if number % 100 else logger.info("x", name=str(number))
    assert [event["name"] for event in written.events()] == [str(number) for number in range(3000)]


def test_lines_of_several_threads_are_whole(written: Written) -> None:
    with written.sink as sink:
        access = AccessLog(sink)
        threads = [threading.Thread(target=lambda n=n: [record(access, name=f"{n}-{i}") for i in range(500)]) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len({event["name"] for event in written.events()}) == 2000


def test_an_access_line_comes_out_without_anything_after_it(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with Sink(writing) as sink, open(reading, "rb") as lines:
        record(AccessLog(sink))
        assert json.loads(lines.readline())["name"] == "home"
        make_logger(sink).info("now")
        assert json.loads(lines.readline())["event"] == "now"
    os.close(writing)


def test_a_reader_that_has_gone_loses_lines_and_nothing_else() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with Sink(writing) as sink:
        make_logger(sink).info("into the void")
    assert sink.failed == 1
    os.close(writing)


def test_a_full_disk_loses_lines_and_nothing_else() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    with Sink(descriptor) as sink:
        make_logger(sink).info("no space")
    assert sink.failed == 1
    os.close(descriptor)


def test_a_reader_that_has_stopped_holds_nobody_up_and_the_buffer_is_bounded() -> None:
    reading, writing = os.pipe()
    long = "x" * 100_000
    with Sink(writing, patience=0.01) as sink:
        access = AccessLog(sink)
        while not sink.dropped:  # far more than the pipe takes: it would wait for ever if it waited
            record(access, name=long)
    assert sink._size <= logs.LONGEST_BUFFER + 2 * len(long)
    os.close(reading)  # lets the thread go
    sink._thread.join()
    os.close(writing)


def test_a_descriptor_that_others_made_non_blocking_gets_every_line() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with Sink(writing, patience=60) as sink, open(reading, "rb") as lines:
        access = AccessLog(sink)
        for number in range(2000):  # more than the pipe takes at once
            record(access, name=str(number))
        assert [json.loads(lines.readline())["name"] for _ in range(2000)] == [str(number) for number in range(2000)]
    os.close(writing)


def test_the_form_is_text_for_a_person_and_json_for_a_machine() -> None:
    leader, terminal = os.openpty()
    reading, writing = os.pipe()
    assert form_of("auto", terminal) == "console"
    assert form_of("auto", writing) == "json"
    assert form_of("json", terminal) == "json"
    for descriptor in (leader, terminal, reading, writing):
        os.close(descriptor)
