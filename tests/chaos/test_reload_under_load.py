"""A hundred edits while callers never pause: nobody is refused, and each answer says under which policy it was made."""

import time
from pathlib import Path

from .callers import Callers, asking, chain, lasting, started, until
from .provider import answers, providers

EDITS = 100
POLICY = "retries: 0\ntimeouts: {{total: {}s}}"
REFUSED = (
    "kind: fallback\nretries: -3\n",
    "kind: fallback\ntimeouts: {\n",
    "kind: fallbck\n",
    "kind: authenticate\nkeys: [{name: app, secret: '${NOT_SET_ANYWHERE}'}]\n",
)


class Edited:
    """The policy file, and from when to when each accepted version of it may have been in use."""

    def __init__(self, folder: Path, text: str) -> None:
        self.path = folder / "policies" / "fallback.yaml"
        self.path.parent.mkdir()
        documents = text.split("\n---\n")
        (folder / "gateway.yaml").write_text(documents[0].replace("policies: []", "policies: [policies]"))
        for number, document in enumerate(documents[1:]):
            place = self.path if "kind: fallback\n" in document else self.path.with_name(f"{number}.yaml")
            place.write_text(document)
        self.good = self.path.read_text()
        self.written: dict[str, float] = {}
        self.replaced: dict[str, float] = {}

    async def accept(self, callers: Callers, total: int) -> None:
        """A good edit; returns when it is in use."""
        before = await _policy(callers)
        now = time.monotonic()
        self.path.write_text(self.good.replace("total: 60s", f"total: {total}s"))

        async def other() -> str | None:
            policy = await _policy(callers)
            return policy if policy != before else None

        after = str(await until(other))
        assert after not in self.written, "every edit is unlike all others"
        self.written[after], self.replaced[before] = now, time.monotonic()

    async def refuse(self, callers: Callers, text: str) -> None:
        """A bad edit; returns when it was seen and the good text stands again."""
        good = self.path.read_text()
        self.path.write_text(text)
        await until(lambda: _outcome(callers, "refused"))
        self.path.write_text(good)
        await until(lambda: _outcome(callers, "unchanged"))


async def _policy(callers: Callers) -> str:
    async with callers.session.get(callers.url + "/ready") as response:
        return str((await response.json())["policy"])


async def _outcome(callers: Callers, wanted: str) -> bool:
    async with callers.session.get(callers.url + "/ready") as response:
        return bool((await response.json())["configuration"]["outcome"] == wanted)


@lasting(300)
async def test_a_hundred_reloads_fail_no_request(tmp_path: Path) -> None:
    # Streams last longer than an edit takes to be seen: many begin under one policy and end under another.
    async with providers(up=answers(words=6, pause=0.05)) as ups:
        edited = Edited(tmp_path, chain(ups, POLICY.format(60)))
        async with started(tmp_path, tmp_path / "gateway.yaml") as (process, callers):
            edited.written[await _policy(callers)] = 0.0
            async with asking(callers) as got:
                for edit in range(EDITS):
                    if edit % 5 == 4:
                        await edited.refuse(callers, REFUSED[edit // 5 % len(REFUSED)])
                    else:
                        await edited.accept(callers, 61 + edit)
            process.process.terminate()
            assert await process.ended() == 0
    assert len(edited.written) == 1 + EDITS * 4 // 5
    assert not [answer for answer in got if not answer.whole]
    for answer in got:
        policy = answer.headers["x-sidecar-policy"]
        assert policy in edited.written, "a policy that was never accepted"
        assert edited.written[policy] <= answer.ended
        assert answer.started <= edited.replaced.get(policy, time.monotonic())
    assert len({answer.headers["x-sidecar-policy"] for answer in got}) > EDITS / 2
    rows = process.rows()
    assert len(rows) == len(got)
    told = {answer.headers["x-request-id"]: answer.headers["x-sidecar-policy"] for answer in got}
    assert {row["request_id"]: row["policy"] for row in rows} == told
    print(f"{len(got)} requests, {len(edited.written)} policies")
