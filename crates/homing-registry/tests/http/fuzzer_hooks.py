"""What schemathesis cannot invent: signed bytes, and keys of agents that are there. Read by the environment's SCHEMATHESIS_HOOKS."""
import os
from pathlib import Path

import schemathesis
from hypothesis import strategies as st

FOLDER = Path(os.environ["FUZZER_DATA"])
SIGNED = sorted(path.read_bytes() for path in FOLDER.glob("*.cose"))
KEYS = (FOLDER / "keys.txt").read_text().split()

schemathesis.openapi.media_type("application/cose", st.sampled_from(SIGNED) | st.binary(max_size=1200))


@schemathesis.serializer("application/cose", "application/vnd.ipfs.ipns-record")
def signed(ctx, value):
    return value if isinstance(value, bytes) else str(value).encode()


@schemathesis.hook
def map_path_parameters(ctx, path_parameters):
    for name in ("id", "name", "owner", "agent"):
        text = (path_parameters or {}).get(name)
        # Half of them, by something that the seed decides.
        if isinstance(text, str) and len(text) % 2:
            path_parameters[name] = KEYS[sum(map(ord, text)) % len(KEYS)]
    return path_parameters
