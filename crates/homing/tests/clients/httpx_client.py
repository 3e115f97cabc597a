import sys

import httpx

print(httpx.post(sys.argv[1], content='hello').text)
