"""The texts of `sidecar explain CODE` for lints: what is allowed and hardly meant. Their first paragraphs are also the
table of docs/lints.md."""

LINTS: dict[str, str] = {
    "dead-rule": """\
No request can meet the rule's condition.

Conditions that compare features with constants are reasoned about; of others (CEL functions, headers, labels,
claims) 2,000 requests are made of their own constants and tried, and the message says so.

    when: tokens > 4000 && tokens < 1000      # no request is both
""",
    "shadowed-rule": """\
An earlier rule, or several together, hold whenever this one does, so this one never decides.

The first rule that holds decides. Where reasoning is not possible, the message tells of sampled requests.

    - {name: long, when: tokens > 1000, tier: complex}
    - {name: longer, when: tokens > 30000, tier: expert}    # `long` has decided by then
""",
    "overlapping-rules": """\
Two rules over the same features hold for some of the same requests and name different tiers; only their order decides.

A special case before the general one is the usual way to write rules, and no finding; nor are rules over different
features. Here neither contains the other.

    - {name: short, when: tokens < 5000, tier: simple}
    - {name: long, when: tokens > 1000, tier: complex}      # and 3,000 tokens?
""",
    "lost-capability": """\
A model of a fallback chain lacks tools, vision or json_schema, which the model that it stands in for has.

A request that needs them fails there, after having waited for the first. Chains that are written are taken at their
word; without one, only candidates that can serve the request are tried.
""",
    "smaller-context": """\
A model of a fallback chain has a context window more than a tenth smaller than the model that it stands in for.

A conversation that fits the first may not fit the second.
""",
    "same-provider": """\
All models of a fallback chain are served by one provider, so its outage, or its spent quota, takes all of them.

    chains:
      large: [small-of-the-same, one-of-another-provider]
""",
    "slow-chain": """\
The models of a chain may hang for longer than the caller's deadline, so the last of them are never asked.

`timeouts.total` bounds the whole chain. A hanging model takes `first_token` (a stream) or `answer` (otherwise), times
its tries when `failures.first_token_timeout` is `retry`.

    timeouts: {first_token: 20s, total: 1m}     # three models: the third begins at 40 s
""",
    "no-default": """\
No candidate of a tier can do what models of the default can (tools, vision, json_schema), and nothing stands in.

    tiers:
      simple:
        models: [tiny]          # no tools: such requests of this tier are refused
        otherwise: default      # unless this is written
""",
    "unpriced-model": """\
A model that is named has no price: its cost is not known.

Its ledger rows have no cost, it ranks as the dearest candidate, and callers with a budget cannot use it.

    models:
      my-model:
        price: {input: 0, output: 0}      # a model of your own that costs nothing
""",
    "retired-model": """\
A model that is named is retired: its provider no longer serves it.

It is never chosen by a glob; where it is named (an alias, a chain, a tier) every request for it fails.
""",
    "low-budget": """\
A hard budget is smaller than what one request with the longest answer costs, at the candidate where that costs least.

The most that a request may cost is held before it is sent: who asks for so long an answer is refused even when nothing
is spent. Shorter ones are served.

    budgets:
      - {name: all, limit: 0.01, window: day}     # a cent
""",
    "idle-weight": """\
A weight of `score` changes no choice: at zero and at twice its value every tier has the same best model.

All shares of output are tried, with the registry's speeds. Learned speeds may change it later. A weight that is 0,
or the only one, is no finding.
""",
    "shared-cache": """\
The cache answers one tenant with what another asked for: `share: all`.

An answer may hold what only its tenant should know. Same body, same answer: with public content that may be meant.
""",
    "plain-secret": """\
A value or a comment looks like a secret: an API key, a token, a gateway key with a valid checksum, a password in a URL.

Whoever can read the file, or its history, has it. Make it invalid where it was issued; write a reference instead.
The finding never shows it.

    api_key: ${PROVIDER_KEY}
""",
    "slow-pattern": """\
A pattern can read one text in exponentially many ways: a caller can make the gateway search for minutes.

Where a search fails, Python tries all readings. In what repeats, let each character be read in one way only; or make
the repeat possessive: `(?:a+)++`.

    steps: '(\\w+\\s?)+$'             # no: `ab` is one word, or two
    steps: '\\w+(?:\\s\\w+)*\\s?$'      # yes
""",
    "unused-allow": """\
A comment `# sidecar: allow CODE` silences nothing: there is no such finding on its line, or no such code.

The comment stands on the line of the finding, or on the line above it. Errors cannot be allowed.

    share: all      # sidecar: allow shared-cache
""",
}
"""Code -> what it means, its first line in one sentence."""
