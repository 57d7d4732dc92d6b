"""Every fault, over every wire, as JSON and as a stream: what the caller sees, held against docs/stream-contract.md.

    python -m tests.conformance           run all cells against this project's gateway and print the table
    python -m tests.conformance --write   and put it into docs/stream-contract.md
    python -m tests.conformance --faults  print the faults file the emulator is given

`pytest tests/conformance` asserts that what was seen is what `test_conformance.py` says the contract means, and that
the table in the document is that.

Another gateway is measured by the same harness, with no expectations:

    python -m tests.conformance --base-url http://127.0.0.1:4000 [--key KEY] [--model-prefix P]

`--only NAME,NAME` and `--wires W,W` narrow the table.

It starts the emulator with the faults, prints where everything listens and which models the other gateway must have,
waits for Enter (or for nothing, with `--now`), asks every cell and prints the table. `--port` keeps the emulator's
address the same from run to run. The models are, for each wire W of openai, anthropic, google and ollama:

    P alone-W            at the emulator, provider's name `faulty`, nothing else may answer
    P chained-W          the same; when it fails, a model called `well` at the emulator is next
    P alone-W-F          the same two for each network fault F (refused, dns, tls, connect_timeout), at its own
    P chained-W-F        base URL

Which fault a request meets is said in its prompt (`[server_error] ...`), so that no gateway needs a model a fault.
Give it timeouts of some 300 ms and backoffs of some milliseconds, one retry, and no circuit breaker or cooldown: a
model that rests in one cell has no chance to show itself in the next. Tries are what `x-sidecar-attempts` says; of
gateways that do not send it, the requests that reached the emulator are counted.
"""
