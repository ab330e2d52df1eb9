"""The Dash app as gunicorn serves it: {{module}}, and the client's address and https as the gateway reports them."""

import os

from werkzeug.middleware.proxy_fix import ProxyFix

from {{module}} import {{attribute}}

server = {{attribute}}.server

# How many proxies the client's address is passed on by: 1 is the gateway alone, 2 is nginx, Caddy or a host's router in
# front of it. With too many, a client could write its own address.
hops = int(os.environ.get("PROXY_HOPS", "1"))
server.wsgi_app = ProxyFix(server.wsgi_app, x_for=hops, x_proto=1, x_host=1, x_port=1)
