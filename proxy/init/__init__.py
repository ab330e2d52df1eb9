"""``dash-ws-proxy init``: the files that put an existing Dash app on a host, written from what can be found out."""
