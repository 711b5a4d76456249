"""The tables of the settings: each a frozen value with its defaults, its bounds, and what it is for (`apiserver.config`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

MIB = 1024 * 1024


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """What is logged, to standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The least important messages that are still logged.")
    ] = "info"
    format: Annotated[
        Literal["auto", "json", "console"],
        Meta(description="Lines of JSON, or coloured text; `auto` is text on a terminal and JSON anywhere else."),
    ] = "auto"
    access: Annotated[
        Literal["all", "errors", "off"],
        Meta(description="Which requests are logged: all, those answered with 400 and above, or none."),
    ] = "all"


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """The server's certificate. Without these, a CA and a certificate are made in the data folder and renewed."""

    cert: Annotated[Path | None, Meta(description="Certificate of the server with its chain, PEM. Goes with `tls.key`.")] = None
    key: Annotated[Path | None, Meta(description="Private key of `tls.cert`, PEM, without a pass phrase.")] = None
    ca: Annotated[
        Path | None,
        Meta(description="Certificates that clients check `tls.cert` by, PEM; go into the kubeconfig. Else the system's."),
    ] = None
    names: Annotated[
        tuple[str, ...], Meta(description="More host names and addresses that the certificate in the data folder is good for.")
    ] = ()


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of service accounts."""

    issuer: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=1024,
            description="Whose tokens these are. Set it to a URL of this server (https://) to have others check them.",
        ),
    ] = "https://skep"
    audiences: Annotated[
        tuple[str, ...], Meta(description="Whom a token has to be for to be a credential here. Without any: the issuer.")
    ] = ()
    key_file: Annotated[
        Path | None,
        Meta(description="Keys that sign tokens, PEM, shared by all replicas. Without it: `token-keys.pem` in the data folder."),
    ] = None
    max_seconds: Annotated[
        int, Meta(ge=600, le=2**32, description="The longest that a token is good for; who asks for more gets this.")
    ] = 86_400


class Oidc(msgspec.Struct, frozen=True, kw_only=True):
    """Whose tokens people log in with, by OpenID Connect: an issuer that this server trusts to say who somebody is."""

    issuer: Annotated[
        str, Meta(description="The issuer, an https:// URL that is exactly the `iss` of its tokens. Empty: none is trusted.")
    ] = ""
    audiences: Annotated[
        tuple[str, ...], Meta(description="A token has to be for one of these: the client ids that were registered at the issuer.")
    ] = ()
    username_claim: Annotated[str, Meta(min_length=1, description="The claim that is the user name.")] = "sub"
    username_prefix: Annotated[
        str, Meta(description="Put before user names. Empty: the issuer and `#` (for the claim `email`: nothing). `-`: nothing.")
    ] = ""
    groups_claim: Annotated[str, Meta(description="The claim with the groups, a text or a list. Empty: no groups are taken.")] = ""
    groups_prefix: Annotated[str, Meta(description="Put before groups. `-`: nothing.")] = "oidc:"
    required_claims: Annotated[
        tuple[str, ...], Meta(description="`NAME=VALUE`, each: a token without all of them is refused.")
    ] = ()
    ca: Annotated[Path | None, Meta(description="Certificates that the issuer's is checked by, PEM. Without it: the system's.")] = (
        None
    )
    algorithms: Annotated[
        tuple[str, ...], Meta(description="How a token may be signed. `none` and shared secrets (HS256 ...) are never allowed.")
    ] = ("RS256", "ES256")
    leeway_seconds: Annotated[float, Meta(ge=0, le=300, description="How far the issuer's clock may be from this one.")] = 10.0
    refresh_seconds: Annotated[
        float, Meta(ge=10, le=86_400, description="The issuer's keys are asked for again when they are this old and used.")
    ] = 600.0
    stale_seconds: Annotated[
        float, Meta(ge=10, le=30 * 86_400, description="For how long the last keys go on when the issuer does not answer.")
    ] = 86_400.0


class Authentication(msgspec.Struct, frozen=True, kw_only=True):
    """How it is known who asks: keys, tokens, certificates, and what is answered to nobody."""

    anonymous: Annotated[
        Literal["off", "health", "on"],
        Meta(description="What who shows no credential may ask for: nothing; health and version; or what roles allow."),
    ] = "health"
    test_keys: Annotated[bool, Meta(description="Whether API keys that begin with `skep_test_` are taken.")] = True
    client_certificates: Annotated[bool, Meta(description="Whether clients may show a certificate.")] = True
    client_ca: Annotated[
        Path | None,
        Meta(description="Authorities of clients' certificates, PEM. Else one is made in the data folder, for clients alone."),
    ] = None
    admin_credential: Annotated[
        Literal["token", "certificate"], Meta(description="What the kubeconfig of the data folder shows for the admin.")
    ] = "token"
    failures: Annotated[
        int, Meta(ge=1, le=1_000_000, description="How many logins from one address may fail at once. More are answered with 429.")
    ] = 100
    failures_per_second: Annotated[
        float, Meta(ge=0.001, le=1_000_000, description="How many more may fail each second. Good logins are never counted.")
    ] = 10.0
    recheck_seconds: Annotated[
        float, Meta(ge=0.1, le=3600, description="A watch ends at most this long after its credential; after a revocation at once.")
    ] = 10.0


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one request may be. More is refused with a 4xx Status before it costs anything."""

    body_bytes: Annotated[int, Meta(ge=1024, le=1024 * MIB, description="Longest request body (413). Kubernetes: 3 MiB.")] = 3 * MIB
    header_bytes: Annotated[
        int, Meta(ge=1024, le=16 * MIB, description="Request line and headers together (431); many tokens are several KiB.")
    ] = 64 * 1024
    request_seconds: Annotated[
        float, Meta(gt=0, le=3600, description="How long a client may take to send a request: first its head, then its body (408).")
    ] = 30.0


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """Watches, and the recent changes in memory that serve them."""

    bookmark_seconds: Annotated[
        float, Meta(gt=0, le=3600, description="How often a watch that asked for bookmarks gets one. Kubernetes: 60.")
    ] = 60.0
    timeout_seconds: Annotated[
        float,
        Meta(gt=0, le=86400, description="A watch that sets no time limit ends after this, up to twice this. Kubernetes: 1800."),
    ] = 1800.0
    window_changes: Annotated[
        int, Meta(ge=8, le=10_000_000, description="Changes of one resource kept in memory; older ones are read from the log.")
    ] = 4096
    window_bytes: Annotated[int, Meta(ge=64 * 1024, le=16384 * MIB, description="The same, as bytes of their objects.")] = 16 * MIB


class History(msgspec.Struct, frozen=True, kw_only=True):
    """How much of the past is kept, for watches that resume and lists that go on. Anything older is 410 Gone."""

    max_age_seconds: Annotated[float, Meta(ge=1, description="Changes older than this are removed.")] = 3600.0
    max_changes: Annotated[int, Meta(ge=100, description="The most changes that are kept.")] = 100_000
    compact_seconds: Annotated[float, Meta(gt=0, le=86400, description="How often the log is looked through.")] = 60.0


class Insight(msgspec.Struct, frozen=True, kw_only=True):
    """What the server tells of itself and of its actors."""

    blocked_seconds: Annotated[
        float, Meta(ge=0.05, le=3600, description="What blocks the event loop for longer is named in the log, with how long.")
    ] = 1.0
    report_seconds: Annotated[
        float,
        Meta(ge=1, le=3600, description="The counts of an actor are written into its `actors` object at most this often."),
    ] = 5.0


class Events(msgspec.Struct, frozen=True, kw_only=True):
    """What is told about objects, which is kept for people to read and not for ever."""

    ttl_seconds: Annotated[
        float, Meta(ge=1, le=366 * 86400, description="An Event is deleted this long after it was last seen. Kubernetes: 3600.")
    ] = 3600.0


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """Who did what: one line of JSON for each stage of a request that the policy asks for. Without a policy there is none."""

    policy: Annotated[
        Path | None, Meta(description="Which requests are told, and how much of them: TOML (`.toml`) or YAML, see docs/audit.md.")
    ] = None
    file: Annotated[Path | None, Meta(description="Where lines are written. Default: `audit.log` in the data folder.")] = None
    stdout: Annotated[bool, Meta(description="Lines go to standard output, and into a file only if `audit.file` names one.")] = (
        False
    )
    max_bytes: Annotated[
        int, Meta(ge=4096, le=1024 * 1024 * MIB, description="A file that would get longer is renamed, and a new one begun.")
    ] = 100 * MIB
    keep: Annotated[int, Meta(ge=0, le=10_000, description="How many renamed files are kept (`audit.log.1` is the newest).")] = 10
    queue_events: Annotated[
        int, Meta(ge=1, le=10_000_000, description="Events that may wait to be written; what does not fit is lost, and counted.")
    ] = 10_000
    queue_bytes: Annotated[int, Meta(ge=4096, le=16384 * MIB, description="The same, as bytes of what they hold.")] = 64 * MIB


class Actors(msgspec.Struct, frozen=True, kw_only=True):
    """The actors of the plugins, as far as this process runs them."""

    run: Annotated[
        bool, Meta(description="Whether the server runs them; if not, `skep actor run` does, anywhere. `--no-actors` says false.")
    ] = True
    lease_seconds: Annotated[
        float, Meta(ge=1, le=3600, description="How long after the death of a process another one runs its actors (PostgreSQL).")
    ] = 15.0


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """How much of the server one caller may have. Members of `system:masters`, the server's own actors, and health are exempt."""

    per_second: Annotated[
        float, Meta(ge=0.001, le=1e6, description="Requests a second that an identity may send on and on; more are 429.")
    ] = 2000.0
    burst: Annotated[int, Meta(ge=1, le=10**7, description="How many of them at once, after a pause.")] = 4000
    anonymous_per_second: Annotated[
        float, Meta(ge=0.001, le=1e6, description="The same for an address that shows no credential, or one that does not hold.")
    ] = 100.0
    anonymous_burst: Annotated[int, Meta(ge=1, le=10**7, description="How many of those at once.")] = 1000
    rates: Annotated[
        tuple[str, ...],
        Meta(description="Rates of their own: `user:NAME=PER_SECOND/BURST` or `group:NAME=...`; a user's before a group's."),
    ] = ()
    reading: Annotated[
        int, Meta(ge=1, le=100_000, description="Reads that are answered in one turn of the event loop; others wait in queues.")
    ] = 64
    writing: Annotated[int, Meta(ge=1, le=100_000, description="Writes that are under way at once; others wait in queues.")] = 64
    queues: Annotated[int, Meta(ge=1, le=10_000, description="Queues that callers are spread over.")] = 128
    hand: Annotated[int, Meta(ge=1, le=100, description="Queues that one caller may fill.")] = 6
    queue_length: Annotated[int, Meta(ge=0, le=100_000, description="Requests that wait in one queue; more are 429.")] = 50
    queued_bytes: Annotated[int, Meta(ge=MIB, le=65536 * MIB, description="Bytes of all bodies that wait; more are 429.")] = (
        64 * MIB
    )
    wait_seconds: Annotated[float, Meta(ge=0.01, le=600, description="How long a request waits for its turn; then 429.")] = 15.0
    watches: Annotated[
        int, Meta(ge=1, le=10**7, description="Watches that one identity may have open; each takes memory. More are 429.")
    ] = 5_000
    refusal_seconds: Annotated[
        float, Meta(ge=0, le=1, description="A 429 is sent after this, so that who repeats at once keeps the server less busy.")
    ] = 0.25


class Webhooks(msgspec.Struct, frozen=True, kw_only=True):
    """Admission webhooks: where the server may connect to, and how much of it they may take."""

    allow: Annotated[
        tuple[str, ...],
        Meta(description="Networks that are not public and that webhooks may be in all the same, as `127.0.0.0/8`."),
    ] = ()
    services: Annotated[
        tuple[str, ...],
        Meta(description="Where services are that webhooks name: `NAME.NAMESPACE=HOST` or `NAME.NAMESPACE=HOST:PORT`."),
    ] = ()
    signing_secret: Annotated[
        Path | None, Meta(description="File with the secret that requests to webhooks are signed with, 16 bytes or more.")
    ] = None
    signing_secret_previous: Annotated[
        Path | None, Meta(description="File with the secret before it: requests are signed with both while receivers change.")
    ] = None
    client_cert: Annotated[
        Path | None, Meta(description="Certificate that the server shows to webhooks, PEM. Goes with `webhooks.client_key`.")
    ] = None
    client_key: Annotated[Path | None, Meta(description="Private key of `webhooks.client_cert`, PEM, without a pass phrase.")] = (
        None
    )
    concurrency: Annotated[int, Meta(ge=1, le=1000, description="Calls of one webhook at the same time.")] = 16
    queue: Annotated[int, Meta(ge=0, le=100_000, description="Calls of one webhook that may wait; more fail at once.")] = 128
    breaker_failures: Annotated[
        int, Meta(ge=1, le=1_000_000, description="A webhook that fails this often in a row is left alone for a while.")
    ] = 5
    breaker_seconds: Annotated[float, Meta(gt=0, le=3600, description="For how long, until a single call is tried.")] = 10.0
    total_seconds: Annotated[
        float, Meta(gt=0, le=600, description="All mutating webhooks of one write together, and all validating ones likewise.")
    ] = 30.0
    answer_bytes: Annotated[int, Meta(ge=1024, le=1024 * MIB, description="Longest answer of a webhook.")] = 8 * MIB
