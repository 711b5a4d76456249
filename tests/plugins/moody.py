"""A kind whose actor does as its objects say: succeeds, fails, gives up, counts its runs. For tests of actors on a real server."""

from __future__ import annotations

from actors import Again, Client, Done, Outcome, Run, Terminal
from registry.plugin import Plugin
from registry.resource import Conditions, Resource, Spec, Status


class MoodSpec(Spec):
    mood: str = "calm"
    note: str = ""


class MoodStatus(Status):
    runs: int = 0
    saw: str = ""
    wakes: tuple[str, ...] = ()
    conditions: Conditions = ()


class Mood(Resource[MoodSpec, MoodStatus]):
    """Mood is an object that its actor obeys."""


plugin = Plugin("moody")
plugin.kind(Mood, group="moody.example", version="v1", plural="moods")


@plugin.actor(Mood, concurrency=4, backoff=(0.05, 0.2))
async def obey(mood: Mood, client: Client, run: Run) -> Outcome:
    """Does what the spec says, and writes down that it ran."""
    before = mood.status or MoodStatus()
    wakes = (*before.wakes, str(run.wake))[-20:]
    status = MoodStatus(runs=before.runs + 1, saw=mood.spec.note, wakes=wakes, conditions=before.conditions)
    match mood.spec.mood:
        case "broken":
            raise RuntimeError(f"token=topsecret cannot bear {mood.spec.note}")
        case "hopeless":
            raise Terminal("Hopeless", "nothing can be done", status=status)
        case "restless" if before.runs < 5:
            return Again(0.05, status)
        case "calm":
            return Done(status)
    return Done(None if before.saw == mood.spec.note else status)
