"""Nothing that comes out of a gateway holds a key: not a log, not an answer, not a page, not the database file."""

import base64
import os
import subprocess
import sys
from pathlib import Path

from gateway import ROOT, gateway
from house import (
    CHAT,
    HELLO,
    ONCE,
    Handler,
    client,
    config,
    eventually,
    fails,
    looped,
    sends,
    stalls,
    streams,
    upstream,
)

PLANTED = "Zx9-provider-key-that-looks-like-nothing-known"
GATE = "gw_app-Zx9-0123456789abcdefghijklmnop"
OTHER = "gw_wrong-Zx9-0123456789abcdefghijklmnop"
AUTH = "kind: authenticate\nanonymous: never\nkeys:\n  - {name: app, secret: '${APP_KEY}'}\n"


def echoes(status: int) -> Handler:
    """A provider that repeats the key in every text it sends."""
    more = {"type": f"t-{PLANTED}", "code": f"c-{PLANTED}", "param": f"p-{PLANTED}"}
    return fails(status, f"Incorrect API key provided: {PLANTED}.", **more)


@looped
async def test_no_key_comes_out_anywhere(tmp_path: Path) -> None:
    statuses = (400, 401, 403, 404, 413, 422, 429, 500, 503)
    event = b'data: {"error": {"message": "%s", "code": "%s"}}\n\n' % (PLANTED.encode(), PLANTED.encode())
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
    replies: dict[str, Handler] = {f"m{status}": echoes(status) for status in statuses}
    replies |= {"text": sends(b"HTTP/1.1 500 x\r\n\r\nBearer " + PLANTED.encode()), "event": sends(head + event)}
    replies |= {"late": streams("a", end=b"%x\r\n%s\r\n0\r\n\r\n" % (len(event), event)), "quiet": stalls()}
    replies |= {"broken": sends(PLANTED.encode() + b"\r\n\r\n")}
    async with upstream(**replies) as up:
        timeouts = "kind: fallback\nalternatives: 0\nretries: 0\ntimeouts: {first_token: 200ms}\n"
        (tmp_path / "gateway.yaml").write_text(config({"up": up.url}, dict.fromkeys(replies, "up"), AUTH, timeouts))
        environ = {"UP_KEY": PLANTED, "APP_KEY": GATE}
        said: list[str] = []
        async with gateway(tmp_path, environ) as served, client(served.url) as http:
            for model in (*replies, "auto", "nope"):
                for key in (GATE, OTHER):
                    for stream in (False, True):
                        body = {"model": model, "messages": HELLO, "stream": stream, key: 1, "zz": key}
                        response = await http.post(CHAT, json=body, headers={"authorization": f"Bearer {key}"})
                        assert model == "late" or response.status_code >= 400 or stream, (model, response.text)
                        said += [response.text, str(response.headers)]
            host = up.url.removeprefix("http://").removesuffix("/v1")
            assert host not in "".join(said)
            (tmp_path / "gateway.yaml").write_text(
                config({"up": up.url}, {"m1": "up"}, AUTH, ONCE).replace('"${UP_KEY}"', PLANTED)
            )
            await eventually(lambda: served.running.holder.last.outcome == "refused")
            for path in ("/ready", "/metrics", "/status.json", "/status", "/v1/models", "/docs", "/openapi.json"):
                said += [(await http.get(path, headers={"authorization": f"Bearer {GATE}"})).text]
            basic = base64.b64encode(f"x:{GATE}".encode()).decode()
            said += [(await http.get("/status", headers={"authorization": f"Basic {basic}"})).text]
            assert len(await served.rows(count=20)) >= 20
            for file in served.database.parent.iterdir():
                said.append(file.read_bytes().decode("latin-1") if "ledger" in file.name else "")
            await eventually(lambda: '"outcome":"refused"' in served.log)
            said.append(served.log)
            said.append(repr(served.running.holder.current.routes) + str(served.running.holder.current.state))
        everything = "\n".join(said)
        for secret in (PLANTED, GATE, OTHER):
            at = everything.find(secret)
            assert at < 0, everything[max(0, at - 300) : at + 100]
        assert len(up.asked) > 20


def test_the_commands_show_no_key(tmp_path: Path) -> None:
    text = config({"up": "http://127.0.0.1:9/v1"}, {"m1": "up"}, AUTH)
    (tmp_path / "gateway.yaml").write_text(text)
    environ = {"PATH": os.environ["PATH"], "UP_KEY": PLANTED, "APP_KEY": GATE}
    for verb in ("show", "validate", "graph", "models"):
        path = str(tmp_path / "gateway.yaml")
        ended = subprocess.run(
            [sys.executable, "-m", "sidecar", verb, path], env=environ, cwd=ROOT, capture_output=True, text=True
        )
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout
        assert PLANTED not in ended.stdout + ended.stderr
        assert GATE not in ended.stdout + ended.stderr
