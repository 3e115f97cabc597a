"""Registers, gets, searches and withdraws with the client that was generated from the OpenAPI document."""
import sys

from registry_client import Client
from registry_client.api.entities import list_, read, register, withdraw
from registry_client.api.finding import search
from registry_client.models import Registration, SearchRequest

url, node_id = sys.argv[1:]
client = Client(base_url=url)


def text(name):
    with open(name, encoding="ascii") as file:
        return file.read()


created = register.sync_detailed(client=client, body=Registration(record=text("record.txt")))
assert created.status_code == 201, created
assert created.parsed.node_id == node_id and created.parsed.name == "generated", created.parsed
found = read.sync_detailed(id="generated", client=client)
assert found.status_code == 200 and found.parsed.node_id == node_id, found
assert found.parsed.record == text("record.txt")
page = list_.sync(client=client, limit=10)
assert [item.node_id for item in page.items] == [node_id], page
hits = search.sync(client=client, body=SearchRequest(query="generated"))
assert [hit.entity.node_id for hit in hits.hits] == [node_id], hits
gone = withdraw.sync_detailed(id=node_id, client=client, body=Registration(record=text("tombstone.txt")))
assert gone.status_code == 200 and gone.parsed.status == "withdrawn", gone
assert read.sync_detailed(id=node_id, client=client).status_code == 410
print("done")
