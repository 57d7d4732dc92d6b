"""`sidecar run` in a process of its own, as a user starts it: ready, answering, and gone without a trace on SIGTERM."""

from typing import Any

import openai
from gateway import KEY, MODELS, PROVIDERS, process, providers_environ, threaded

from sidecar.emulator import Emulator
from sidecar.listen import listening

HI: Any = [{"role": "user", "content": "hi"}]


def test_the_sdk_against_sidecar_run() -> None:
    with (
        threaded(lambda: listening(Emulator())) as port,
        process(PROVIDERS, providers_environ(f"http://127.0.0.1:{port.value}")) as url,
        openai.OpenAI(api_key=KEY, base_url=f"{url}/v1", max_retries=0) as client,
    ):
        for model in MODELS:
            whole = client.chat.completions.create(model=model, messages=HI).choices[0].message.content
            with client.chat.completions.stream(model=model, messages=HI) as stream:
                assert stream.get_final_completion().choices[0].message.content == whole
