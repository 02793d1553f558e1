"""Contexts: where they are kept, what loops give back to them, and what waits to be merged."""

from __future__ import annotations

import asyncio

from jupyter_server.auth.decorator import authorized
from tornado import web

from loopat_jupyter.context.origins import check_kind
from loopat_jupyter.outgoing import promote, push_branch
from loopat_jupyter.server.answers import Contexts, Proposals
from loopat_jupyter.server.base import LoopatHandler, permitted
from loopat_jupyter.server.requests import AttachContext, DiscardQuery, MergeProposal, Promote, Push, ShowProposalQuery


class ContextsHandler(LoopatHandler):
    """`/contexts`."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Where each context is kept."""
        self.answer(Contexts(contexts=await asyncio.to_thread(self.manager.cargo.contexts.remotes)))


class ContextHandler(LoopatHandler):
    """`/contexts/{kind}`."""

    @web.authenticated
    @authorized
    async def put(self, kind: str) -> None:
        """Give a context a remote."""
        contexts = self.manager.cargo.contexts
        self.answer(await contexts.attach(check_kind(kind), self.body(AttachContext).remote))


class PromoteHandler(LoopatHandler):
    """`/loops/{loop_id}/promote`."""

    @web.authenticated
    @permitted("execute")
    async def post(self, loop_id: str) -> None:
        """Give everybody what the loop changed in a context."""
        record = self.manager.store.read(loop_id)
        request = self.body(Promote)
        work = promote(self.manager, record, request.context, message=request.message)
        self.answer(await self.finished(work, loop_id=loop_id))


class PushHandler(LoopatHandler):
    """`/loops/{loop_id}/push`."""

    @web.authenticated
    @permitted("execute")
    async def post(self, loop_id: str) -> None:
        """Push the branch of the loop's repo."""
        record = self.manager.store.read(loop_id)
        work = push_branch(self.manager, record, branch=self.body(Push).branch)
        self.answer(await self.finished(work, loop_id=loop_id))


class ProposalsHandler(LoopatHandler):
    """`/proposals`."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """What waits to be merged."""
        self.answer(Proposals(proposals=await self.manager.cargo.contexts.proposals.waiting()))


class ProposalHandler(LoopatHandler):
    """`/proposals/{kind}/{loop_id}`."""

    @web.authenticated
    @authorized
    async def get(self, kind: str, loop_id: str) -> None:
        """What a proposal changes."""
        text = await self.manager.cargo.contexts.proposals.diff(
            check_kind(kind), loop_id, self.query(ShowProposalQuery).commit
        )
        self.finish(text, set_content_type="text/x-diff; charset=UTF-8")

    @web.authenticated
    @authorized
    async def delete(self, kind: str, loop_id: str) -> None:
        """Take a proposal away."""
        await self.manager.cargo.contexts.proposals.discard(check_kind(kind), loop_id, self.query(DiscardQuery).commit)
        self.set_status(204)
        self.finish()


class MergeHandler(LoopatHandler):
    """`/proposals/{kind}/{loop_id}/merge`."""

    @web.authenticated
    @authorized
    async def post(self, kind: str, loop_id: str) -> None:
        """Bring a proposal into its context."""
        commit = self.body(MergeProposal).commit
        self.answer(await self.manager.cargo.contexts.proposals.merge(check_kind(kind), loop_id, commit))
