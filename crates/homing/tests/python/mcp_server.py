"""An MCP server of the official SDK. `mcp_server.py` speaks stdio; `mcp_server.py http PORT-FILE [stateless]` listens on a free
port of this machine, which it writes into the file."""

import asyncio
import os
import socket
import sys

import uvicorn
from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("porter")


@server.tool()
def add(a: int, b: int) -> int:
    """The sum of two numbers."""
    return a + b


@server.tool()
def who() -> str:
    """The process that answers, and who asks, as Homing told it."""
    return f"{os.getpid()} {os.environ.get('HOMING_PEER_NODE_ID', '')}"


@server.tool()
async def steps(count: int, ctx: Context) -> str:
    """Reports every step on the way."""
    for step in range(count):
        await ctx.report_progress(step + 1, count, f"step {step + 1}")
    return "done"


@server.tool()
async def sleep() -> str:
    """Does not answer in time."""
    await asyncio.sleep(600)
    return "awake"


@server.tool()
def leave() -> str:
    """Ends the process without an answer."""
    os._exit(1)


def serve_http(port_file: str, stateless: bool) -> None:
    listener = socket.create_server(("127.0.0.1", int(os.environ.get("PORT", "0"))))
    with open(port_file + ".tmp", "w") as file:
        file.write(str(listener.getsockname()[1]))
    os.rename(port_file + ".tmp", port_file)
    app = server.streamable_http_app(stateless_http=stateless)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


if __name__ == "__main__":
    if sys.argv[1:2] == ["http"]:
        serve_http(sys.argv[2], sys.argv[3:] == ["stateless"])
    else:
        print("starting", file=sys.stderr)
        server.run()
