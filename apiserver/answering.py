"""Reviews on the request path: the question is read like any other body, and what answers it is `admission.reviews`.

Nobody is asked whether they may be made, but the roles: they are questions, and policies and webhooks may put such themselves.
"""

from __future__ import annotations

from admission.reviews import Responder, Reviews
from apiserver import agreement, intake
from apiserver.calls import Answer, Call
from apiserver.manager import Admit, Subresource
from apiserver.options import write_options
from registry.catalog import Catalog
from registry.errors import Invalid


def review_answers(catalog: Catalog, reviews: Reviews) -> dict[tuple[str, str], Subresource]:
    """What answers the creates of reviews, as the manager asks for it: by resource, without a subresource."""
    return {(resource, ""): _answering(catalog, responder) for resource, responder in reviews.responders.items()}


def _answering(catalog: Catalog, responder: Responder) -> Subresource:
    async def answer(call: Call, _: Admit) -> Answer:
        target, options = call.target, write_options(call.query, "CreateOptions")
        taken = await intake.received(catalog.registry, target, call.body, call.content_type, options)
        for warning in taken.warnings:
            call.warn(warning)
        agreement.check_namespace(target, taken.document)
        if taken.causes:
            raise Invalid(target.kind.name, target.version.group, "", taken.causes)
        return Answer(201, document=await responder(call.identity, target.namespace or "", taken.document))

    return answer
