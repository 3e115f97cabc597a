"""An A2A agent of the official SDK: `a2a_agent.py PORT-FILE jsonrpc|rest|old`. It writes its port into the file. Its card names it
as its peers' programs see it."""

import os
import socket
import sys

import uvicorn
from a2a.helpers import new_task_from_user_message, new_text_message, new_text_part
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes, create_rest_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types.a2a_pb2 import AgentCapabilities, AgentCard, AgentInterface, AgentSkill
from starlette.applications import Starlette


class Porter(AgentExecutor):
    """Says back what it was told: as a task, in two parts; `now` as a plain message; `fail` not at all."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        text = context.get_user_input()
        if text == "now":
            await event_queue.enqueue_event(new_text_message("at once", context_id=context.context_id))
            return
        task = context.current_task or new_task_from_user_message(context.message)
        await event_queue.enqueue_event(task)
        updater = TaskUpdater(event_queue, task.id, task.context_id)
        await updater.start_work()
        if text == "fail":
            await updater.failed(updater.new_agent_message([new_text_part("it cannot be done")]))
            return
        await updater.add_artifact([new_text_part(f"you said {text}")], name="echo")
        await updater.add_artifact([new_text_part("and that is all")], name="end")
        await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        raise NotImplementedError


def main(port_file: str, kind: str) -> None:
    listener = socket.create_server(("127.0.0.1", int(os.environ.get("PORT", "0"))))
    port = listener.getsockname()[1]
    binding, version = {"rest": ("HTTP+JSON", "1.0"), "jsonrpc": ("JSONRPC", "1.0"), "old": ("JSONRPC", "0.3")}[kind]
    url = "http://a2a.agent-b.agent.internal/agent"
    card = AgentCard(
        name="Porter",
        description="Says back what it was told",
        version="1.0.0",
        supported_interfaces=[AgentInterface(url=url, protocol_binding=binding, protocol_version=version)],
        capabilities=AgentCapabilities(streaming=True),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[AgentSkill(id="echo", name="Echo", description="Says it back", tags=["echo"])],
    )
    handler = DefaultRequestHandler(Porter(), InMemoryTaskStore(), card)
    routes = create_agent_card_routes(card)
    if kind == "rest":
        routes += create_rest_routes(handler, path_prefix="/agent")
    else:
        routes += create_jsonrpc_routes(handler, "/agent", enable_v0_3_compat=kind == "old")
    with open(port_file + ".tmp", "w") as file:
        file.write(str(port))
    os.rename(port_file + ".tmp", port_file)
    app = Starlette(routes=routes)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


main(*sys.argv[1:3])
