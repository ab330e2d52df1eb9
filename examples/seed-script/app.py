import dash
from dash import html
from fastapi import WebSocket, WebSocketDisconnect

app = dash.Dash(__name__, backend="fastapi")
app.layout = html.Div("Hello")

@app.server.websocket("/ws")
async def ws_endpoint(websocket: WebSocket):
    await websocket.accept()
    await websocket.send_json({"msg": "hello"})
    await websocket.close()

if __name__ == "__main__":
    app.run(debug=True, port=8050)
