"""Policies and their bindings, read once and evaluated for every write that they mean. Pure: what they need to know is passed in.

What it promises: the answers of Kubernetes' ValidatingAdmissionPolicy. What cannot be evaluated, in an expression, in the
parameters, or for its cost, counts as the failure policy says. `CostExceeded` leaves `judge`, so that its caller may give it more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import msgspec

from admission.conditions import ConditionError, Conditions, roots
from admission.matching_rules import Constraints
from registry import cel
from registry.cel import CompileError, CostExceeded, EvaluationError, Fields, Meter, Program, Shape
from registry.cel.reviews import of_policy
from registry.errors import BadRequest
from registry.selectors import LabelSelector

Document = dict[str, Any]

LONGEST_MESSAGE = 5 * 1024
"""Characters that the message of an expression may have; a longer one is passed over."""
MESSAGE = 10_000
"""What finding a message may cost."""
LONGEST_NOTE = 10 * 1024
"""Characters of the value of an audit annotation that are kept."""
OVER_BUDGET = "validation failed due to running out of cost budget, no further validation rules will be run"


@dataclass(frozen=True, slots=True)
class Rule:
    """A validation."""

    program: Program
    message: str
    saying: Program | None
    reason: str


@dataclass(frozen=True, slots=True)
class Policy:
    """A compiled policy. `broken`: why it cannot be evaluated at all. `names`: the variables that it uses."""

    name: str
    constraints: Constraints
    fails: bool = True
    param_kind: tuple[str, str] | None = None
    conditions: Conditions = Conditions()  # noqa: RUF009
    variables: tuple[tuple[str, Program], ...] = ()
    rules: tuple[Rule, ...] = ()
    notes: tuple[tuple[str, Program], ...] = ()
    names: frozenset[str] = frozenset()
    broken: str = ""

    @classmethod
    def of(cls, document: Document) -> Self:
        """A policy as it is stored."""
        spec, name = document.get("spec") or {}, document["metadata"]["name"]
        fails = spec.get("failurePolicy", "Fail") != "Ignore"
        kind = spec.get("paramKind")
        param_kind = (kind.get("apiVersion", ""), kind.get("kind", "")) if kind is not None else None
        try:
            constraints = Constraints.of_policy(spec.get("matchConstraints"))
        except BadRequest as error:
            return cls(name, Constraints(everything=True), fails, param_kind, broken=str(error))
        try:
            variables, rules, notes = _programs(spec, params=param_kind is not None)
        except (CompileError, KeyError, TypeError) as error:
            return cls(name, constraints, fails, param_kind, broken=f"compilation failed: {error}")
        conditions = Conditions.of(spec.get("matchConditions"), of_policy(params=param_kind is not None))
        programs = [program for _, program in (*variables, *notes)]
        programs += [each for rule in rules for each in (rule.program, rule.saying) if each is not None]
        names = conditions.names | roots(programs)
        return cls(name, constraints, fails, param_kind, conditions, variables, rules, notes, names)


@dataclass(frozen=True, slots=True)
class ParamRef:
    """Which objects are the parameters. Without a name, all that the selector selects."""

    name: str
    namespace: str
    selector: LabelSelector | None
    required: bool


@dataclass(frozen=True, slots=True)
class Binding:
    """A binding, as far as there is something to decide. `broken`: why it cannot be used."""

    name: str
    policy: str
    constraints: Constraints | None
    params: ParamRef | None
    actions: tuple[str, ...]
    broken: str = ""

    @classmethod
    def of(cls, document: Document) -> Self:
        """A binding as it is stored."""
        spec, name = document.get("spec") or {}, document["metadata"]["name"]
        policy, actions = spec.get("policyName", ""), tuple(spec.get("validationActions") or ())
        try:
            resources, ref = spec.get("matchResources"), spec.get("paramRef")
            constraints = Constraints.of_policy(resources) if resources is not None else None
            params = _param_ref(ref) if ref is not None else None
        except BadRequest as error:
            return cls(name, policy, None, None, actions, broken=str(error))
        return cls(name, policy, constraints, params, actions)


class Failure(msgspec.Struct, frozen=True):
    """Something does not hold, or cannot be told. `at`: which of the rules."""

    message: str
    reason: str = "Invalid"
    at: int = 0


class Verdict(msgspec.Struct, frozen=True):
    """What a policy says of a write. `notes` are the values of audit annotations, by key."""

    failures: tuple[Failure, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()


def broken(policy: Policy, why: str) -> Verdict:
    """What is said when a policy cannot be evaluated at all."""
    return Verdict((Failure(why),)) if policy.fails else Verdict()


def judge(policy: Policy, given: Mapping[str, Any], params: Sequence[Document | None], meter: Meter) -> Sequence[Verdict]:
    """What a policy says, for each of its parameters (None: it has none). `given`: see `admission.conditions.variables`.

    Raises CostExceeded.
    """
    if policy.broken:
        return [broken(policy, f"failed to configure policy: {policy.broken}")]
    return [_judge_one(policy, {**given, "params": each}, meter) for each in params]


def _judge_one(policy: Policy, given: dict[str, Any], meter: Meter) -> Verdict:
    try:
        if not policy.conditions.hold(given, meter):
            return Verdict()
    except ConditionError as error:
        return broken(policy, str(error))
    programs = dict(policy.variables)

    def find(name: str) -> Any:
        return programs[name].evaluate(given, meter)

    given["variables"] = Fields(frozenset(programs), find)
    failures = [failure for at, rule in enumerate(policy.rules) for failure in _break(policy, rule, at, given, meter)]
    notes = []
    for key, program in policy.notes:
        try:
            value = program.evaluate(given, meter)
        except EvaluationError as error:
            if policy.fails:
                failures.append(Failure(_said(program, error)))
            continue
        if value is not None and value.strip():
            notes.append((key, value.strip()[:LONGEST_NOTE]))
    return Verdict(tuple(failures), tuple(notes))


def _break(policy: Policy, rule: Rule, at: int, given: Mapping[str, Any], meter: Meter) -> list[Failure]:
    try:
        if rule.program.evaluate(given, meter):
            return []
    except EvaluationError as error:
        return [Failure(_said(rule.program, error), at=at)] if policy.fails else []
    return [Failure(_message(rule, given), rule.reason, at)]


def _message(rule: Rule, given: Mapping[str, Any]) -> str:
    """What the rule says: by its expression, if that gives something to say; by its message; or by itself. What it costs to find
    that out is counted apart: it is no reason to let the write pass."""
    said = ""
    if rule.saying is not None:
        try:
            made = rule.saying.evaluate(given, Meter(MESSAGE))
            said = made.strip() if isinstance(made, str) else ""
        except (EvaluationError, CostExceeded):
            said = ""
        if len(said) > LONGEST_MESSAGE or "\n" in said:
            said = ""
    return said or rule.message.strip() or f"failed expression: {rule.program.text.strip()}"


def _said(program: Program, error: EvaluationError) -> str:
    return f"expression '{program.text}' resulted in error: {error}"


_Programs = tuple[tuple[str, Program], ...]


def _programs(spec: Document, *, params: bool) -> tuple[_Programs, tuple[Rule, ...], _Programs]:
    """Each variable sees those before it. Raises CompileError."""
    known: dict[str, str] = {}
    variables = []
    for each in spec.get("variables") or ():
        program = cel.compile(each["expression"], of_policy(params=params, variables=known))
        variables.append((each["name"], program))
        known[each["name"]] = program.declarable
    seen: Mapping[str, str | Shape] = of_policy(params=params, variables=known)
    silent = of_policy(params=params, variables=known, authorizer=False)
    rules = tuple(
        Rule(
            cel.compile(each["expression"], seen, ("bool",)),
            each.get("message") or "",
            cel.compile(each["messageExpression"], silent, ("string",)) if each.get("messageExpression") else None,
            each.get("reason") or "Invalid",
        )
        for each in spec.get("validations") or ()
    )
    annotations = spec.get("auditAnnotations") or ()
    notes = tuple((each["key"], cel.compile(each["valueExpression"], seen, ("string", "null"))) for each in annotations)
    return tuple(variables), rules, notes


def _param_ref(ref: Mapping[str, Any]) -> ParamRef:
    selector = ref.get("selector")
    return ParamRef(
        ref.get("name") or "",
        ref.get("namespace") or "",
        LabelSelector.from_object(selector) if selector is not None else None,
        ref.get("parameterNotFoundAction") == "Deny",
    )
