"""A config file is read section by section, and every mistake in it is named: file, line, column and key."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.ws_service.config.example import Example, Limits, Reader, Rule, mistakes_in
from ws_service.config.file import CONFIG_VARIABLE, dump, find, folder_of, load
from ws_service.config.settings import Settings
from ws_service.errors import ConfigError, Mistake


def test_no_file_is_every_default() -> None:
    assert load(None, "gateway", Example) == Example()


@pytest.mark.parametrize("text", ["gateway:\n", "gateway: {}\n", "ws_service:\n  listen: 127.0.0.1:1\n"])
def test_a_section_that_is_empty_or_absent_is_every_default(read: Reader, text: str) -> None:
    assert read(text) == Example()


def test_settings_are_read_with_their_units(read: Reader) -> None:
    example = read("gateway:\n  limits: {wait: 5m, body: 64KiB}\n  rules:\n    - {path: /live, to: dash}\n")
    assert example.limits == Limits.model_construct(wait=300.0, body=65536)
    assert example.rules == (Rule(path="/live", to="dash"),)


def test_a_mistake_in_another_section_is_not_ours(read: Reader) -> None:
    assert read("ws_service: {lisen: 1}\ngateway: {workers: 2}\n").workers == 2


def test_two_mistakes_are_reported_at_once_in_the_order_of_the_file(read: Reader, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read("gateway:\n  workers: many\n  listen: 127.0.0.1:99999\nextra: 1\n")
    path = tmp_path / "config.yaml"
    assert str(caught.value).splitlines() == [
        f"{path}:2:3: gateway.workers: expected a whole number, got the text 'many'",
        f"{path}:3:3: gateway.listen: port 99999 is out of range (1 to 65535)",
        f"{path}:4:1: extra: is not a setting; known here: gateway, ws_service, dash_app",
    ]


def test_a_missing_file_is_named_with_the_folder_that_was_searched(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "none.yaml", "gateway", Example)
    assert str(caught.value) == f"{tmp_path / 'none.yaml'}: there is no such file (looked in {tmp_path})"


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"is a folder; name the file in it, such as {tmp_path}/config.yaml"):
        load(tmp_path, "gateway", Example)


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing yet\n"])
def test_an_empty_file_says_what_to_write(read: Reader, text: str) -> None:
    (mistake,) = mistakes_in(read, text)
    assert mistake.message == "is empty; write a section: gateway, ws_service, dash_app"


def test_a_file_that_is_a_list_says_what_is_expected(read: Reader) -> None:
    (mistake,) = mistakes_in(read, "- 1\n")
    assert mistake == Mistake("holds a list; expected sections: gateway, ws_service, dash_app", line=1)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("gateway:\n  listen: [1\n", (2, 11)),
        ("gateway:\n\tlisten: a\n", (2, 1)),
        ("gateway:\n  name: 'a\n", (2, 9)),
        ("gateway: {}\n  workers: 1\n", (2, 3)),
        ("gateway:\n  name: *nobody\n", (2, 9)),
        ("gateway: 1\n---\nws_service: 1\n", (2, 1)),
    ],
)
def test_invalid_yaml_is_named_with_line_and_column(read: Reader, text: str, place: tuple[int, int]) -> None:
    (mistake,) = mistakes_in(read, text)
    assert mistake.message.startswith("is not valid YAML: ")
    assert (mistake.line, mistake.column) == place


def test_a_key_that_is_written_twice_is_a_mistake(read: Reader) -> None:
    (mistake,) = mistakes_in(read, "gateway:\n  workers: 1\n  name: a\n  workers: 2\n")
    assert mistake == Mistake("is written twice; the first is on line 2", "gateway.workers", 4, 3)


def test_an_alias_that_holds_itself_is_refused(read: Reader) -> None:
    (mistake,) = mistakes_in(read, "gateway: &g\n  rules: *g\n  limits: *g\n")
    assert mistake == Mistake(
        "an alias (*...) is inside of what it stands for; write the values out", "gateway.rules", 2, 3
    )


def test_a_tag_that_would_make_python_objects_is_refused(read: Reader) -> None:
    (mistake,) = mistakes_in(read, "gateway: !!python/object/apply:os.getcwd []\n")
    assert mistake.line == 1
    assert "a value that begins with ! needs quotes" in mistake.message


def test_a_file_that_is_not_text_is_named_with_its_line(read: Reader) -> None:
    (mistake,) = mistakes_in(read, b"gateway:\n  name: \xff\n")
    assert mistake == Mistake("is not UTF-8 text; save it as UTF-8", line=2)


def test_a_file_of_two_mebibytes_is_the_wrong_file(read: Reader) -> None:
    (mistake,) = mistakes_in(read, b"#" * (2 << 20))
    assert "is this the right file?" in mistake.message


def test_a_byte_order_mark_is_no_mistake(read: Reader) -> None:
    assert read(b"\xef\xbb\xbfgateway: {workers: 3}\n").workers == 3


def test_a_variable_is_replaced_and_a_default_taken_where_it_is_not_set(read: Reader) -> None:
    text = "gateway:\n  listen: ${HOST}:${PORT:-9000}\n  workers: ${WORKERS:-4}\n"
    example = read(text, {"HOST": "localhost"})
    assert (example.listen, example.workers) == ("localhost:9000", 4)


def test_a_variable_that_is_not_set_is_one_mistake(read: Reader) -> None:
    (mistake,) = mistakes_in(read, "gateway:\n  name: a\n  listen: ${HOST}:8000\n")
    assert mistake.key == "gateway.listen"
    assert (mistake.line, mistake.column) == (3, 3)
    assert mistake.message == ("the environment variable HOST is not set; set it, or give a default: ${HOST:-value}")


def test_a_variable_inside_a_list_is_placed(read: Reader) -> None:
    (mistake,) = mistakes_in(read, "gateway:\n  rules:\n    - path: /a\n    - path: ${WHERE}\n")
    assert (mistake.key, mistake.line) == ("gateway.rules[1].path", 4)


@pytest.mark.parametrize("word", ["off", "on", "yes", "no"])
def test_the_words_of_yaml_1_1_stay_words(read: Reader, word: str) -> None:
    assert read(f"gateway: {{handoff: {word}}}\n").handoff == word


@pytest.mark.parametrize(("word", "value"), [("off", False), ("on", True), ("true", True), ("no", False)])
def test_a_switch_takes_true_and_on_alike(read: Reader, word: str, value: bool) -> None:
    assert read(f"gateway: {{is_loud: {word}}}\n").is_loud is value


def test_a_section_that_is_written_out_reads_back_the_same(tmp_path: Path) -> None:
    example = Example(
        listen="[::1]:80",
        name="off",
        is_loud=True,
        limits=Limits.model_construct(wait=0.25, body=1536),
        rules=(Rule(path="/a"), Rule(path="/b", to="dash")),
    )
    path = tmp_path / "config.yaml"
    path.write_text(dump("gateway", example))
    assert load(path, "gateway", Example) == example


def test_objections_to_well_formed_settings_have_their_place_too(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("ws_service:\n  listen: 127.0.0.1:1\n")

    def check(settings: Settings) -> list[tuple[tuple[str | int, ...], str]]:
        return [(("listen",), f"{settings.listen} is not liked"), (("handoff",), "is left out, and missed")]

    with pytest.raises(ConfigError) as caught:
        load(path, "ws_service", Settings, {}, check)
    assert [(m.line, m.key, m.message) for m in caught.value.mistakes] == [
        (1, "ws_service.handoff", "is left out, and missed"),
        (2, "ws_service.listen", "127.0.0.1:1 is not liked"),
    ]


def test_a_key_that_is_written_twice_does_not_hide_the_other_mistakes(read: Reader) -> None:
    found = mistakes_in(read, "gateway:\n  name: a\n  name: b\n  workers: many\n")
    assert [(m.line, m.key) for m in found] == [(3, "gateway.name"), (4, "gateway.workers")]


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (
            "${EMPTY}:80",
            "the environment variable EMPTY is set but empty; give it a value, or give a default: ${EMPTY:-value}",
        ),
        ("${NONE}:80", "the environment variable NONE is not set; set it, or give a default: ${NONE:-value}"),
        ("${NONE:80}", "'${NONE:80}' holds a ${ that is no variable; write ${NAME}, or ${NAME:-default}"),
        ("${NONE", "'${NONE' holds a ${ that is no variable; write ${NAME}, or ${NAME:-default}"),
    ],
)
def test_what_is_wrong_with_a_variable_is_said_once(read: Reader, value: str, sentence: str) -> None:
    (mistake,) = mistakes_in(read, f"gateway:\n  listen: '{value}'\n", {"EMPTY": ""})
    assert mistake == Mistake(sentence, "gateway.listen", 2, 3)


def test_an_empty_variable_has_its_default(read: Reader) -> None:
    assert read("gateway: {name: '${EMPTY:-a}'}\n", {"EMPTY": ""}).name == "a"


# -- which file


def test_a_file_that_is_named_is_read_without_a_word(tmp_path: Path) -> None:
    assert find(tmp_path / "a.yaml") == (tmp_path / "a.yaml", None)


def test_without_a_name_it_is_the_one_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find(None) == (None, f"there is no config.yaml in {tmp_path}; running on the defaults")
    (tmp_path / "config.yml").touch()
    assert find(None) == (
        None,
        f"there is no config.yaml in {tmp_path}; running on the defaults "
        "(there is a config.yml: rename it, or name it with --config)",
    )
    (tmp_path / "config.yaml").symlink_to("nowhere")
    assert find(None) == (Path("config.yaml"), f"using config.yaml in {tmp_path}")


def test_a_variable_names_it_where_the_command_line_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    env = {CONFIG_VARIABLE: "app/a.yaml"}
    assert find(None, env) == (Path("app/a.yaml"), "using app/a.yaml, which DASH_WS_PROXY_CONFIG names")
    assert find(Path("b.yaml"), env) == (Path("b.yaml"), None)
    assert find(None, {CONFIG_VARIABLE: ""}) == find(None, {})


def test_paths_of_a_file_start_from_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert folder_of(Path("app/a.yaml")) == tmp_path / "app"
    assert folder_of(None) == tmp_path


def test_beside_a_variable_that_is_not_set_the_other_mistakes_of_a_list_are_told(read: Reader) -> None:
    text = "gateway:\n  rules:\n    - {path: /a, to: '${NONE}'}\n    - {path: /b, to: flask}\n    - {to: ws}\n"
    found = mistakes_in(read, text)
    assert [(m.line, m.key) for m in found] == [
        (3, "gateway.rules[0].to"),
        (4, "gateway.rules[1].to"),
        (5, "gateway.rules[2].path"),
    ]


def test_what_is_in_the_file_is_no_command_to_a_terminal_where_it_is_said(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text('gateway: {"\\e]0;x\\a": 1, "a\\nb": 2, workers: "\\e[31m", "li\\u202Esten": 1}\n')
    with pytest.raises(ConfigError) as caught:
        load(path, "gateway", Example, {})
    said = str(caught.value)
    assert len(said.splitlines()) == 4
    assert all(line.isprintable() for line in said.splitlines())
    assert "gateway.\\x1b]0;x\\x07: is not a setting" in said


@pytest.mark.parametrize(("escape", "name"), [("\\0", "U+0000"), ("\\ud800", "U+D800")])
def test_what_no_text_can_hold_is_said_once_with_its_place(read: Reader, escape: str, name: str) -> None:
    message = f"the escape of {name} is in here, which no text can hold; remove it"
    assert mistakes_in(read, f'gateway: {{handoff: "run/a{escape}b", "na{escape}me": x}}\n') == [
        Mistake(message, "gateway.handoff", 1, 20),
        Mistake(message, "gateway.name", 1, 30 + len(escape)),
    ]


def test_variables_without_a_value_are_told_however_many(read: Reader) -> None:
    text = "gateway: {rules: [" + ", ".join(["'${X}'"] * 5000) + "]}\n"
    begin = time.process_time()
    assert len(mistakes_in(read, text)) == 5000
    assert time.process_time() - begin < 5, "and not with the square of their number"
