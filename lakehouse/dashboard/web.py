"""The dashboard as Streamlit serves it, behind the same check of Host and Origin as the web UI.

Streamlit's own `server.allowedHosts` looks at WebSockets only, and knows no "any address of this machine".
"""

from __future__ import annotations

import os
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware

from lakehouse.same_origin import SameOriginOnly

NAMES = [name.strip() for name in os.environ.get("LAKEHOUSE_WEBSERVER_NAMES", "").split(",") if name.strip()]

app = st.App(Path(__file__).with_name("app.py"), middleware=[Middleware(SameOriginOnly, names=NAMES)])
