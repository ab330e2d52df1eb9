#!/bin/sh
# Starts Centrifugo 6 where the service would listen, with the secrets that follow from the hub's key.
set -eu
dash-ws-service token log > /dev/null     # makes run/hub.key where there is none
CENTRIFUGO_CLIENT_TOKEN_HMAC_SECRET_KEY=$(cat run/hub.key)
CENTRIFUGO_HTTP_API_KEY=$(python -c 'import hmac; print(hmac.digest(open("run/hub.key", "rb").read().strip(), b"api", "sha256").hex())')
CENTRIFUGO_HTTP_SERVER_PORT=${WS_PORT:-8765}
export CENTRIFUGO_CLIENT_TOKEN_HMAC_SECRET_KEY CENTRIFUGO_HTTP_API_KEY CENTRIFUGO_HTTP_SERVER_PORT
exec ${CENTRIFUGO:-centrifugo} --config centrifugo.json
