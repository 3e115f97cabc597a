import sys

import requests

print(requests.post(sys.argv[1], data='hello').text)
