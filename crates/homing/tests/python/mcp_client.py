"""A client of the official SDK over standard input and output: `mcp_client.py MODE SCRIPT COMMAND ARGS…`.

MODE is `auto`, `legacy` or a protocol version. SCRIPT is a JSON array of steps; the answers are printed as one JSON array."""

import asyncio
import json
import sys

from mcp import Client, MCPError, StdioServerParameters


async def step(client: Client, what: dict) -> object:
    match what["do"]:
        case "version":
            return client.protocol_version
        case "tools":
            tools = (await client.list_tools()).tools
            return [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools]
        case "call":
            seen: list[str] = []

            async def progress(_done: float, _total: float | None, message: str | None) -> None:
                seen.append(message or "")

            timeout = what.get("timeout")
            try:
                result = await client.call_tool(
                    what["tool"], what.get("arguments", {}), progress_callback=progress, read_timeout_seconds=timeout
                )
            except MCPError as error:
                return {"error": error.error.model_dump(mode="json"), "progress": seen}
            answer = result.model_dump(mode="json", by_alias=True, exclude_none=True)
            return answer | {"progress": seen}
        case "wait":
            # Something happens outside, and the test says when.
            print(json.dumps({"waiting": what["for"]}), file=sys.stderr, flush=True)
            await asyncio.to_thread(sys.stdin.readline)
            return None
        case other:
            raise ValueError(other)


async def main() -> None:
    mode, script, command, *args = sys.argv[1:]
    import os

    server = StdioServerParameters(command=command, args=args, env=dict(os.environ))
    async with Client(server, mode=mode) as client:
        answers = [await step(client, what) for what in json.loads(script)]
    print(json.dumps(answers))


asyncio.run(main())
