"""A client of the official SDK: `a2a_client.py URL TEXT` asks the agent whose card is at URL. Proxies come from the environment."""

import asyncio
import sys

from a2a.client import ClientConfig, create_client
from a2a.helpers import get_stream_response_text, new_text_message
from a2a.types.a2a_pb2 import Role, SendMessageRequest


async def main(url: str, text: str) -> None:
    client = await create_client(url, ClientConfig(streaming=True))
    request = SendMessageRequest(message=new_text_message(text, role=Role.ROLE_USER))
    async for said in client.send_message(request):
        if part := get_stream_response_text(said):
            print(part)


asyncio.run(main(*sys.argv[1:3]))
