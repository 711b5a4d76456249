"""Health endpoints, in the form of Kubernetes."""

from __future__ import annotations

import anyio
import pytest

from apiserver.health import Health, Report, ping, shared

pytestmark = pytest.mark.anyio


async def fails() -> bool:
    return False


async def breaks() -> bool:
    raise OSError("the disk is full")


class Log:
    """What was told to a log."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def __call__(self, name: str, error: Exception | None) -> None:
        self.told.append((name, str(error) if error else ""))


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def health(log: Log) -> Health:
    checks = {"ping": ping, "store": breaks, "actors": fails}
    return Health({"livez": {"ping": ping, "loop": ping}, "readyz": checks}, log)


async def test_what_is_healthy_says_ok(health: Health) -> None:
    assert await health.all("livez", [], verbose=False) == Report(200, "ok")
    assert await health.single("livez", "ping") == Report(200, "ok")


async def test_who_asks_for_more_is_told_of_each_check(health: Health) -> None:
    assert await health.all("livez", [], verbose=True) == Report(200, "[+]ping ok\n[+]loop ok\nlivez check passed\n")


async def test_what_fails_is_named_and_why_is_for_the_log(health: Health, log: Log) -> None:
    for verbose in (False, True):
        report = await health.all("readyz", [], verbose=verbose)
        assert report.code == 500
        assert report.text == (
            "[+]ping ok\n[-]store failed: reason withheld\n[-]actors failed: reason withheld\nreadyz check failed\n"
        )
    assert log.told[:2] == [("store", "the disk is full"), ("actors", "")]


async def test_a_single_check_that_fails_says_no_more_than_that(health: Health, log: Log) -> None:
    report = await health.single("readyz", "store")
    assert report.code == 500
    assert "disk" not in report.text
    assert log.told == [("store", "the disk is full")]


async def test_checks_can_be_excluded(health: Health) -> None:
    assert await health.all("readyz", ["store", "actors"], verbose=False) == Report(200, "ok")
    report = await health.all("readyz", ["store", "actors", "nothing"], verbose=True)
    assert report.text == (
        "[+]ping ok\n[+]store excluded: ok\n[+]actors excluded: ok\n"
        'warn: some health checks cannot be excluded: no matches for "nothing"\nreadyz check passed\n'
    )


@pytest.mark.parametrize(
    ("endpoint", "name", "expected"),
    [("livez", "", True), ("livez", "ping", True), ("livez", "store", False), ("readyz", "store", True), ("healthz", "", False)],
)
def test_an_endpoint_has_the_checks_that_it_was_given(health: Health, endpoint: str, name: str, expected: bool) -> None:
    assert health.has(endpoint, name) is expected


async def test_a_check_that_costs_something_is_made_once_however_many_ask_and_again_after_a_while() -> None:
    made, time, answers = [0], [0.0], list[bool | str]()
    may_end = anyio.Event()

    async def costly() -> bool:
        made[0] += 1
        await may_end.wait()
        if made[0] == 2:
            raise OSError("the disk is full")
        return True

    check = shared(costly, lambda: time[0], 1.0)

    async def ask() -> None:
        try:
            answers.append(await check())
        except OSError:
            answers.append("broke")

    async def together() -> list[bool | str]:
        answers.clear()
        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            may_end.set()
        return answers

    assert (await together(), made) == ([True] * 50, [1])
    time[0] += 1
    assert (await together(), made) == (["broke", *[False] * 49], [2])
    time[0] += 0.5
    assert await check() is False
    time[0] += 0.5
    assert (await check(), made) == (True, [3])


async def test_who_goes_away_during_a_check_does_not_answer_for_others() -> None:
    never = anyio.Event()

    async def waits() -> bool:
        await never.wait()
        return True

    check = shared(waits, lambda: 0.0, 1.0)
    with anyio.move_on_after(0):
        await check()
    never.set()
    assert await check()
