"""A document against its Spec: what is accepted, what the environment puts in, what is said of the rest."""

import subprocess
import sys
from typing import Any

import pytest

from sidecar.config.check import check
from sidecar.config.codes import Code
from sidecar.config.diagnostic import Severity
from sidecar.config.document import parse
from sidecar.spec import Spec

from .toys import Gateway, Kitchen, Menu, complain, house, read


def test_a_sound_document_is_its_spec() -> None:
    (menu,), findings = read("kind: menu\nname: lunch\ncourses:\n  - {kind: cold, minutes: 3}\n")
    assert not findings and isinstance(menu, Menu)
    assert house("port: 80\n") == house("kind: gateway\nport: 80\n") == Gateway(port=80)


@pytest.mark.parametrize(
    ("text", "environ", "value"),
    [
        ("port: ${P}", {"P": "99"}, 99),
        ("port: ${P:-98}", {}, 98),
        ("port: ${P:-98}", {"P": ""}, 98),
        ("open: ${P}", {"P": "false"}, False),
        ("greeting: ${P}", {"P": "99"}, "99"),  # a text field keeps what looks like a number
        ("greeting: ${P}", {"P": ""}, ""),
        ("greeting: '${P}'", {"P": "99"}, "99"),
        ("greeting: a ${P:-b} $${P} $$ $5 ${P}", {"P": "${Q}"}, "a ${Q} ${P} $ $5 ${Q}"),
        ("greeting: ${P:-}", {}, ""),
        ("greeting: ${P:-a:-b}", {}, "a:-b"),
        ("tables: ${P}", {"P": "99"}, "99"),
        ("tables: ['${P}', 2]", {"P": "x"}, None),
        ("tables:\n  - ${P}\n  - 2", {"P": "1"}, [1, 2]),
        ("step: ${P}", {"P": "2"}, 2.0),
    ],
)
def test_the_environment(text: str, environ: dict[str, str], value: Any) -> None:
    (spec,), findings = read(text, environ)
    if value is None:
        assert spec is None and findings
    else:
        assert getattr(spec, text.partition(":")[0]) == value and not findings


def test_a_secret_keeps_its_reference() -> None:
    spec = house("kitchens: {a: {url: 'https://a', api_key: '${KEY}'}}", {"KEY": "sk-1"})
    assert spec.kitchens == {"a": Kitchen("https://a", api_key="${KEY}")}


def test_a_secret_in_the_file_is_not_repeated() -> None:
    for value in ("sk-live-1", "12345678"):
        text = complain(f"kitchens:\n  a:\n    url: https://a\n    api_key: {value}\n")
        assert value not in text and "api_key" in text


def test_without_environment_the_rest_is_still_checked() -> None:
    text = "port: ${P}\nopen: ${O}\nstep: ${S}\nkitchens: {a: {url: '${U}', share: '${R}'}}\ngreeting: hi ${G}\n"
    (spec,), findings = read(text, strict=False)
    assert spec == Gateway(
        port=8787, open=True, step=1.0, kitchens={"a": Kitchen("https://api.example.com/v1", share=0)}, greeting="hi g"
    )
    assert [finding.code for finding in findings] == [Code.UNSET_VARIABLE] * 6
    assert {finding.severity for finding in findings} == {Severity.WARNING}
    (spec,), findings = read(text, strict=True)
    assert spec is None and {finding.severity for finding in findings} == {Severity.ERROR}


def test_a_wrong_value_from_the_environment_names_the_variable_and_not_the_value() -> None:
    text = complain("port: ${P}", {"P": "hunter2"})
    assert "its value comes from `${P}`" in text and "hunter2" not in text


def test_a_variable_that_is_not_text() -> None:
    text = complain("greeting: hello ${P}", {"P": "\udcff"})
    assert text.startswith("gateway.yaml:1:17: error[bad-value]: the environment variable `P` is not UTF-8 text\n")


def test_what_only_msgspec_knows_has_its_place() -> None:
    assert complain("port: 1\nstep: .nan\n").startswith("gateway.yaml:2:7: error[bad-value]: `step`: expected ")
    assert complain("tables: [1.0]").startswith("gateway.yaml:1:10: error[wrong-type]: `tables[0]`: expected ")
    assert "error[bad-value]: `greeting` is rude" in complain("greeting: go away\n")


def test_what_both_know_is_said_once_and_what_only_msgspec_knows_is_added() -> None:
    assert complain("port: -1\n").endswith("1 error, 0 warnings in 1 file\n")
    codes = [finding.code for finding in read("tables: [1.0]\nport: -1\n")[1]]
    assert len(codes) in (1, 2)  # msgspec stops at its first fault, in the order of the file


def test_no_kind_is_known() -> None:
    (document,), _ = parse("a: 1", "x.yaml")
    assert check(document, {}, {})[1][0].code == Code.MISSING_FIELD


def test_a_spec_that_names_itself_in_a_field() -> None:
    class Plain(Spec):
        kind: str
        size: int = 1

    (document,), _ = parse("kind: plain\nsize: x\n", "x.yaml")
    assert check(document, {"plain": Plain}, {})[1][0].code == Code.WRONG_TYPE
    (document,), _ = parse("kind: plain\n", "x.yaml")
    assert check(document, {"plain": Plain}, {})[0] == Plain(kind="plain")


def test_a_sound_start_does_not_pay_for_jsonschema() -> None:
    code = (
        "import sys\n"
        "from sidecar.config.check import check\nfrom sidecar.config.document import parse\n"
        "from sidecar.spec import Spec\n"
        "class A(Spec):\n    a: int = 1\n"
        "(d,), _ = parse('kind: a\\na: ${A:-2}', 'x.yaml')\n"
        "assert check(d, {'a': A}, {}) == (A(a=2), [])\n"
        "sys.exit('jsonschema' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_union_without_tags_speaks_of_the_branch_that_is_nearest() -> None:
    class Circle(Spec):
        radius: int

    class Shape(Spec):
        of: Circle | list[int] | None = None

    (document,), _ = parse("kind: s\nof: {radius: x}\n", "x.yaml")
    _, (finding,) = check(document, {"s": Shape}, {})
    assert finding.message == "`radius` must be an integer, not a string"
