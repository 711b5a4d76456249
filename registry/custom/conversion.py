"""The ways between the versions of a kind that is made at run time: by its webhook, or under another name alone.

    ways = webhook_ways("Widget", {"widgets.example/v2": schema_2, "widgets.example/v1": schema_1}, call)
    Version(..., ways=ways)           the same ways for every version of the kind

`call` comes from `apiserver.conversion_webhooks`; None is the strategy `None`. What it promises:

* An object is shown as the schema of its version has it now: what that does not know is pruned, and defaults are filled in, however
  old the object is. That goes for the version in which it is stored as well.
* A webhook has nothing to say about metadata but labels and annotations. An object whose name, namespace or uid it changes, or that
  it leaves out, is not converted.
* One object that cannot be converted spoils no other: what is refused as a whole is asked again in halves.
* The same question is not put twice at the same time, whoever asks. Answers are there for those who asked, remembered or not.

Nothing is kept aside for such kinds: what a webhook loses on the way there and back is lost, as it is in Kubernetes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from registry.errors import Cause, details
from registry.nodes import Node
from registry.schema import Schema
from registry.unasked import Question, Unasked
from registry.ways import REMEMBERED, ConversionError, Document, Form, Unreached, Ways

Call = Callable[[Sequence[bytes], str], Awaitable[Sequence[Any]]]
"""Has documents (as JSON) converted to a version, and gives what came back for each, in order. Raises Refused, NoAnswer."""

BATCH = 256
"""Documents of one call, and (`BATCH_BYTES`) their bytes together."""
BATCH_BYTES = 2 * 2**20
AT_ONCE = 4
"""Calls for one list at the same time."""
LONGEST_SECONDS = 60.0
"""For how long a webhook is asked about the same objects, all halves together."""
PATIENCE = 60.0
"""Seconds that one request waits for all the calls that it needs: halves of halves of a long list may be very many."""
REFUSED_SECONDS = 10.0
"""For how long it is remembered that an object could not be converted: a webhook may be mended meanwhile."""
LONGEST = 1_000
"""Characters of what a webhook says that are told."""

_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.decode
_UNSAID = Node(type="object", preserve=True)


class Refused(Exception):
    """A webhook was asked, and did not convert: because of what it was asked, as far as one can tell."""


class NoAnswer(Exception):
    """A webhook could not be asked. That says nothing about any object."""


def webhook_ways(
    kind: str,
    schemas: Mapping[str, Schema],
    call: Call | None,
    *,
    memory: int = REMEMBERED,
    now: Callable[[], float] = time.monotonic,
    patience: float = PATIENCE,
) -> Ways:
    """The ways of a kind whose versions have these schemas, by apiVersion; of the schemas nothing is used before it is needed."""
    return CustomWays(kind, schemas, call, memory, now, patience)


class CustomWays(Ways):
    """See the module. Implements `registry.unasked.Asker`."""

    settles = True

    def __init__(
        self, kind: str, schemas: Mapping[str, Schema], call: Call | None, memory: int, now: Callable[[], float], patience: float
    ) -> None:
        super().__init__(kind, {version: Form(version, _UNSAID) for version in schemas}, (), memory=memory, exact=True)
        self.remote = call is not None
        self._schemas = dict(schemas)
        self._call = call
        self._now = now
        self._patience = patience
        self._pinned: dict[Question, _Pin] = {}
        self._asked: dict[Question, asyncio.Future[Unreached | None]] = {}  # what is asked for just now; ends with what went wrong

    def convert(self, document: Document, target: str, *, quiet: bool = False) -> Document:
        """As `Ways.convert`. Raises Unasked where the webhook has to be asked; see `registry.unasked`."""
        source = document.get("apiVersion", "")
        for version in (source, target):
            if version not in self._schemas:
                raise self._failed(document, target, f"{version} is no version of it that is declared", None, quiet=quiet)
        if source == target:
            return self._settled(document, target)
        if self._call is None:
            return self._settled({**document, "apiVersion": target}, target)
        question = Question(target, _encode(document))
        pin = self._pinned.get(question)
        if pin is None or not pin.known:
            raise Unasked(self, question)
        try:
            made = _taken(document, pin.answer, target)
        except Refused as refused:
            error = self._refused(document, target, str(refused))
            if not quiet:
                self.report(error)
            raise error from None
        return self._settled(made, target)

    def stale(self, error: ConversionError) -> bool:
        """Whether a failure that is remembered may be none any more."""
        return isinstance(error, _Refusal) and self._now() >= error.until

    def _settled(self, document: Document, version: str) -> Document:
        """The document as the schema of its version has it; the same object if it is so already."""
        rest = {key: value for key, value in document.items() if key != "metadata"}
        outcome = self._schemas[version].apply(rest)
        if outcome.unreadable:
            raise self._failed(document, version, "it is no document of that version", None)
        made = outcome.document
        if made.keys() == rest.keys() and all(made[key] is rest[key] for key in rest):
            return document
        return {**made, "metadata": document["metadata"]}

    def _refused(self, document: Document, target: str, why: str) -> ConversionError:
        metadata = document["metadata"]
        name, namespace = metadata.get("name", ""), metadata.get("namespace", "")
        message = f"{self._webhook(document)} {why}"
        where = f' in namespace "{namespace}"' if namespace else ""
        said = f'{self.kind} "{name}"{where} cannot be converted to {target}: {message}'
        error = _Refusal(message, details=details(name=name, kind=self.kind, causes=[Cause("ConversionFailed", said)]))
        error.until = self._now() + REFUSED_SECONDS
        return error

    def _webhook(self, document: Mapping[str, Any]) -> str:
        return f"conversion webhook for {document.get('apiVersion', '')}, Kind={self.kind}"

    # Asking

    @property
    def waiting(self) -> int:
        """How many answers somebody waits for, or has not taken yet."""
        return len(self._pinned)

    async def ask(self, questions: Sequence[Question]) -> Callable[[], None]:
        """Has the answers in their place until the function that is returned is called. Raises Unreached."""
        wanted = list(dict.fromkeys(questions))
        for question in wanted:
            self._pinned.setdefault(question, _Pin()).holders += 1

        def release() -> None:
            for question in wanted:
                pin = self._pinned[question]
                pin.holders -= 1
                if not pin.holders:
                    del self._pinned[question]

        try:
            async with asyncio.timeout(self._patience):
                while missing := [question for question in wanted if not self._pinned[question].known]:
                    await self._find(missing)
        except TimeoutError:
            release()
            raise self._unreached(wanted[0], f"not all objects were converted within {self._patience:g} s") from None
        except BaseException:
            release()
            raise
        return release

    async def _find(self, missing: Sequence[Question]) -> None:
        """Asks for what nobody asks for just now, and waits for what others ask for. They may be gone before they have it; when
        they reach nobody, nobody does."""
        others = {self._asked[question] for question in missing if question in self._asked}
        own = [question for question in missing if question not in self._asked]
        done: asyncio.Future[Unreached | None] = asyncio.get_running_loop().create_future()
        self._asked.update(dict.fromkeys(own, done))
        trouble = None
        try:
            if own:
                await self._find_all(own)
        except Unreached as error:
            trouble = error
            raise
        finally:
            for question in own:
                del self._asked[question]
            done.set_result(trouble)
        if others:
            ended, _ = await asyncio.wait(others)
            for each in ended:
                if (found := each.result()) is not None:
                    raise Unreached(found.message, details=found.details) from found

    async def _find_all(self, questions: Sequence[Question]) -> None:
        batches = list(_batches(questions))
        left = iter(batches)

        async def work() -> None:
            for target, batch in left:
                await self._find_batch(target, batch)

        trouble: BaseException
        try:
            async with asyncio.timeout(LONGEST_SECONDS), asyncio.TaskGroup() as tasks:
                for _ in batches[:AT_ONCE]:
                    tasks.create_task(work())
            return
        except TimeoutError:
            trouble = self._unreached(questions[0], f"{len(questions)} objects were not converted in {LONGEST_SECONDS:g} s")
        except BaseExceptionGroup as group:
            trouble = group.exceptions[0]
        raise trouble

    async def _find_batch(self, target: str, batch: Sequence[Question]) -> None:
        """Asks for some, and when it is refused for each half of them."""
        assert self._call is not None  # noqa: S101
        try:
            answers = await self._call([question.document for question in batch], target)
            if len(answers) != len(batch):
                raise Refused(f"returned {len(answers)} objects, expected {len(batch)}")
        except NoAnswer as error:
            raise self._unreached(batch[0], str(error)) from error
        except Refused as refused:
            if len(batch) == 1:
                self._keep(batch[0], refused)
                return
            middle = len(batch) // 2
            await self._find_batch(target, batch[:middle])
            await self._find_batch(target, batch[middle:])
            return
        for question, answer in zip(batch, answers, strict=True):
            self._keep(question, answer)

    def _keep(self, question: Question, answer: Any) -> None:
        pin = self._pinned.get(question)
        if pin is not None:  # else whoever asked is gone
            pin.answer, pin.known = answer, True

    def _unreached(self, question: Question, why: str) -> Unreached:
        document = _decode(question.document)
        return Unreached(f"{self._webhook(document)} failed: {why}", details=details(kind=self.kind))


class _Refusal(ConversionError):
    """An object that its webhook did not convert. `until`: when it is to be asked again."""

    until = 0.0


class _Pin:
    """An answer in its place, while there are holders. It may be a Refused."""

    __slots__ = ("answer", "holders", "known")

    def __init__(self) -> None:
        self.answer: Any = None
        self.holders = 0
        self.known = False


def _batches(questions: Sequence[Question]) -> Iterator[tuple[str, list[Question]]]:
    """The questions in as many as one call has, each for one version."""
    batch: list[Question] = []
    size = 0
    for question in sorted(questions, key=lambda question: question.target):
        full = len(batch) == BATCH or size + len(question.document) > BATCH_BYTES
        if batch and (full or batch[0].target != question.target):
            yield batch[0].target, batch
            batch, size = [], 0
        batch.append(question)
        size += len(question.document)
    if batch:
        yield batch[0].target, batch


def _taken(document: Document, answer: Any, target: str) -> Document:
    """What a webhook made of a document, as far as it is its to say. Raises Refused."""
    if isinstance(answer, Refused):
        raise answer
    if not isinstance(answer, dict):
        raise Refused("returned invalid object at index 0: it is no object")
    if answer.get("apiVersion") != target:
        got = _said(answer.get("apiVersion"))
        raise Refused(f"returned invalid object at index 0: invalid groupVersion (expected {target}, received {got})")
    if answer.get("kind") != document["kind"]:
        got = _said(answer.get("kind"))
        raise Refused(f"returned invalid object at index 0: invalid kind (expected {document['kind']}, received {got})")
    given = document["metadata"]
    return {**answer, "metadata": _metadata(given, answer.get("metadata"))}


def _metadata(given: Document, made: Any) -> Document:
    if not isinstance(made, dict):
        raise Refused("returned invalid metadata: it is no object")
    for field in ("name", "namespace", "uid"):
        if made.get(field, "") != given.get(field, ""):
            named = "UID" if field == "uid" else field
            was, got = given.get(field, ""), _said(made.get(field, ""))
            raise Refused(f"returned invalid object: must have the same {named}: {was} != {got}")
    metadata = {key: value for key, value in given.items() if key not in ("labels", "annotations")}
    for field in ("labels", "annotations"):
        pairs = made.get(field)
        if pairs is None or pairs == {}:
            continue
        if not isinstance(pairs, dict) or not all(isinstance(value, str) for value in pairs.values()):
            raise Refused(f"returned invalid metadata: {field} are no texts by name")
        metadata[field] = pairs
    return metadata


def _said(value: Any) -> str:
    """What somebody else sent, in a message: bounded, on one line."""
    text = value if isinstance(value, str) else _encode(value).decode()
    return "".join(filter(str.isprintable, text[:100]))
