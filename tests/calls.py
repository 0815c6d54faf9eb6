"""HTTP calls as httpx makes them, without its certificates: to read all of them takes 45 ms of processor each time."""

from __future__ import annotations

import ssl
from functools import partial

import httpx

NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

get = partial(httpx.get, verify=NO_CERTIFICATES)
post = partial(httpx.post, verify=NO_CERTIFICATES)
request = partial(httpx.request, verify=NO_CERTIFICATES)
stream = partial(httpx.stream, verify=NO_CERTIFICATES)
