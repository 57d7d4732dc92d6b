"""The codes of all findings, each with the text that `sidecar explain CODE` prints; those of lints are in `lints`."""

from enum import StrEnum

from .lints import LINTS


class Code(StrEnum):
    """What is wrong, in one kebab-case word: stable, for scripts, searches and `sidecar explain`."""

    UNREADABLE = "unreadable"
    TOO_LARGE = "too-large"
    EMPTY_FILE = "empty-file"
    SYNTAX = "syntax"
    DUPLICATE_KEY = "duplicate-key"
    UNKNOWN_KIND = "unknown-kind"
    UNKNOWN_FIELD = "unknown-field"
    MISSING_FIELD = "missing-field"
    WRONG_TYPE = "wrong-type"
    BAD_VALUE = "bad-value"
    UNSET_VARIABLE = "unset-variable"
    DUPLICATE_NAME = "duplicate-name"
    KEY_ORIGIN = "key-origin"
    UNSET_SECRET = "unset-secret"
    WEAK_KEY = "weak-key"
    VAULT_LOCKED = "vault-locked"
    BAD_CONDITION = "bad-condition"
    BAD_PATTERN = "bad-pattern"
    UNKNOWN_TIER = "unknown-tier"
    UNKNOWN_RULE = "unknown-rule"
    UNKNOWN_KEY = "unknown-key"
    UNKNOWN_STRATEGY = "unknown-strategy"
    UNKNOWN_MODEL = "unknown-model"
    BAD_MODEL = "bad-model"
    UNKNOWN_PROVIDER = "unknown-provider"
    NO_CANDIDATES = "no-candidates"
    FALLBACK_LOOP = "fallback-loop"
    UNKNOWN_OUTCOME = "unknown-outcome"
    UNKNOWN_NODE = "unknown-node"
    GRAPH_LOOP = "graph-loop"
    DEAD_NODE = "dead-node"
    REGISTRY_FALLBACK = "registry-fallback"
    DEAD_RULE = "dead-rule"
    SHADOWED_RULE = "shadowed-rule"
    OVERLAPPING_RULES = "overlapping-rules"
    NO_DEFAULT = "no-default"
    LOST_CAPABILITY = "lost-capability"
    SMALLER_CONTEXT = "smaller-context"
    SAME_PROVIDER = "same-provider"
    SLOW_CHAIN = "slow-chain"
    UNPRICED_MODEL = "unpriced-model"
    RETIRED_MODEL = "retired-model"
    LOW_BUDGET = "low-budget"
    IDLE_WEIGHT = "idle-weight"
    SHARED_CACHE = "shared-cache"
    PLAIN_SECRET = "plain-secret"
    SLOW_PATTERN = "slow-pattern"
    UNUSED_ALLOW = "unused-allow"


EXPLAIN: dict[Code, str] = {
    Code.UNREADABLE: """\
The file or folder cannot be read: it does not exist, its permissions forbid it, or it is not UTF-8 text.

Check the path and its permissions. If the text is the trouble, save it again as UTF-8:

    iconv -f latin1 -t utf-8 route.yaml > mended.yaml
""",
    Code.TOO_LARGE: """\
The configuration is beyond what a policy can sensibly need: a file over 1 MiB, values nested deeper than
64 levels, aliases that expand to more than 200,000 values, or too many files. The bounds keep a broken or
hostile file from taking the gateway's memory.

Split the file, or include a narrower folder.
""",
    Code.EMPTY_FILE: """\
The file holds no document: all of it is commented out, which is a warning, or there is nothing in it at all, which is
an error: a disk that was full leaves such files, and what stood in them would no longer hold.

Delete it, or give it a name that starts with a dot while it rests:

    mv policies/old.yaml policies/.old.yaml
""",
    Code.SYNTAX: """\
The text is not YAML, or uses a part of YAML that sidecar leaves out because it surprises: merge keys (`<<`),
tags (`!!int`), keys that are not strings. Scalars follow YAML 1.2: `on`, `yes` and `1:30` are text.

    timeout: 30s: soft      # no: a value with `: ` in it needs quotes
    timeout: "30s: soft"    # yes
""",
    Code.DUPLICATE_KEY: """\
One mapping has the same key twice. Most YAML readers silently keep the last; here it is an error, and both
places are shown.

    retries: 2
    retries: 3      # which one is meant?
""",
    Code.UNKNOWN_KIND: """\
Every document says what it is with `kind`, and this one is not known. In gateway.yaml, `kind: gateway` may be
left out. Cases (`kind: test`) are no part of a policy: they stand in files named `*_test.yaml`.

    kind: policy
    name: route
""",
    Code.UNKNOWN_FIELD: """\
The field does not exist where it is written: it is misspelt, indented too far or too little, or belongs to
another kind. A setting that is silently ignored is worse than an error.

    retires: 3      # no
    retries: 3      # yes
""",
    Code.MISSING_FIELD: """\
A field without a default is not there. The finding points at the mapping that lacks it.

    kind: policy
    name: route     # this one cannot be left out
""",
    Code.WRONG_TYPE: """\
The value is of another type than the field. YAML 1.2 decides the type: quotes make text, `true` and `false`
are the only booleans, `yes` and `on` are text.

    port: "8787"    # no: text
    port: 8787      # yes: an integer
""",
    Code.BAD_VALUE: """\
The value has the right type and is not allowed: outside its bounds, not one of the choices, or of another
form than the field wants.

    timeout: 5 seconds      # no
    timeout: 5s             # yes
""",
    Code.UNSET_VARIABLE: """\
The text refers to an environment variable that is not set and has no default. `sidecar run` refuses it;
`sidecar validate` only warns and checks the rest with a stand-in, so that CI needs no environment.

    port: ${SIDECAR_PORT}           # must be set
    port: ${SIDECAR_PORT:-8787}     # 8787 when it is unset or empty
    note: costs $${5}               # `$$` is a plain dollar sign
""",
    Code.DUPLICATE_NAME: """\
Two things that are told apart by their name have the same one: stages, rules, keys, or the gateway itself.

    - name: code      # no
    - name: code      # which one did the trace mean?
""",
    Code.KEY_ORIGIN: """\
A gateway key is either a hash or a reference to a secret, never both, never neither, never the key itself. A provider
has either `api_key`, or `keys` when it has several.

    - name: app
      hash: sha256:5f1c...        # printed by `sidecar keys create app --git`
    - name: ci
      secret: ${CI_GATEWAY_KEY}   # the key is in the environment; not in `kind: keys`, which takes hashes only
""",
    Code.UNSET_SECRET: """\
A gateway key's secret is not where its reference points to. Without it nobody could be let in, so the
configuration is refused rather than served with fewer keys.

    SIDECAR_KEY=gw_... sidecar run
""",
    Code.WEAK_KEY: """\
A gateway key or an admin key has fewer than 16 characters and could be guessed. `sidecar keys create NAME` makes one
that cannot.
""",
    Code.VAULT_LOCKED: """\
A secret is in the vault, which cannot be read: SIDECAR_ENCRYPTION_KEY is not set, is no Fernet key, or is not the one
that the secret was encrypted with. Rather than to serve without its keys, the gateway does not start.

    export SIDECAR_ENCRYPTION_KEY=$(sidecar vault key)     # once; keep it where the gateway finds it again
    sidecar vault set openai                               # reads the secret from standard input
    sidecar vault list                                     # which secrets this encryption key opens
""",
    Code.BAD_CONDITION: """\
A condition is not a CEL expression over the request's features, or does not yield true or false.

    when: tokens > 4000 && !has_code      # yes
    when: tokens                          # no: a number is not a condition
    when: token > 4000                    # no: there is no feature `token`
""",
    Code.BAD_PATTERN: """\
A pattern is not a regular expression that Python's `re` understands.

    asks_for_proof: '(?i)\\b(prove|proof)\\b'
""",
    Code.UNKNOWN_TIER: """\
A tier is named that no classify stage lists under `tiers`.
""",
    Code.UNKNOWN_RULE: """\
A case expects a rule that no classify stage has. `none` stands for no rule at all.

    expect: {rule: short-question}
""",
    Code.UNKNOWN_KEY: """\
A case is asked by a gateway key, or a token's issuer, that the policy does not have. A key that is kept elsewhere is
made up by saying more of it:

    caller: {key: app, tenant: acme}
""",
    Code.UNKNOWN_STRATEGY: """\
A strategy is named that is neither built in (cost, quality, speed, balanced) nor listed under `strategies`.
""",
    Code.UNKNOWN_MODEL: """\
A model is named that neither the registry nor `models:` in gateway.yaml knows. `sidecar models` lists them all.
""",
    Code.BAD_MODEL: """\
An entry under `models:` cannot be used: it lacks a figure that neither the registry nor `like` supplies, or its
figures contradict each other.

    models:
      my-model:
        provider: local
        like: llama3.2        # every figure that is not written here
""",
    Code.UNKNOWN_PROVIDER: """\
A model names a provider that is not listed under `providers:`.
""",
    Code.NO_CANDIDATES: """\
Nothing could ever be chosen here: no provider is enabled, or no model of an enabled provider fits.
""",
    Code.FALLBACK_LOOP: """\
A fallback chain comes back to a model that was tried already; it would fail again.

    chains:
      gpt-4o: [claude-sonnet-4-5, gemini-2.5-pro]
""",
    Code.UNKNOWN_OUTCOME: """\
`on` names an outcome that the stage does not have. `sidecar graph` draws every outcome.
""",
    Code.UNKNOWN_NODE: """\
`on` or `pipeline` leads to a stage that does not exist, or that is switched off.
""",
    Code.GRAPH_LOOP: """\
A walk could come back to a stage it has left and never end. Edges must lead onwards.
""",
    Code.DEAD_NODE: """\
Nothing leads to this stage, so it never runs. A second stage of a kind is reached by another stage's `on`.

    on:
      expert: score_experts
""",
    Code.REGISTRY_FALLBACK: """\
models.json could not be used; its backup or the bundled one stands in until it is mended.
""",
    **{Code(code): text for code, text in LINTS.items()},
}
