"""`doctor` and `check --deploy` speak the language of the terminal. All else, and what programs read, is English."""

import json
import re
import string
import textwrap
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from django.utils import translation

from ovauth.conf import terminal_language
from ovauth.doctor import FAULTS, Fault
from ovauth.doctor.saying import Said, told
from ovauth.management import columns
from tests.deploy.proxies import free_port
from tests.doctor.conftest import NO_DOCUMENTS
from tests.doctor.faulty import between
from tests.serving import Server, manage, running

pytestmark = pytest.mark.xdist_group("languages of commands")

CHINESE = re.compile(r"[\u4e00-\u9fff]")
ASKING = {"LC_ALL": "", "LANG": "zh_CN.UTF-8", "PYTHONUTF8": "1"}
"""A terminal in China, also where that locale is not installed."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that was started in such a terminal."""
    with running(data_dir=tmp_path_factory.mktemp("examined") / "data", env=NO_DOCUMENTS | ASKING) as server:
        yield server


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh-hans"),
        ({"LANG": "zh"}, "zh-hans"),
        ({"LANG": "zh_TW.UTF-8"}, "zh-hans"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "zha_CN"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "en_US.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_CN.UTF-8"}, "zh-hans"),
        ({"LC_MESSAGES": "zh_CN.UTF-8", "LC_ALL": "en_US.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": ""}, "zh-hans"),
        ({"LANG": "en_US.UTF-8", "LANGUAGE": "zh_CN"}, "zh-hans"),
        ({"LANG": "zh_CN.UTF-8", "LANGUAGE": "en_GB:zh_CN"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LANGUAGE": "de:zh_CN:en"}, "zh-hans"),
        ({"LANG": "zh_CN.UTF-8", "LANGUAGE": "de:fr"}, "zh-hans"),
        ({"LC_ALL": "C", "LANGUAGE": "zh_CN"}, "en"),
        ({"LC_ALL": "C.UTF-8", "LANG": "zh_CN.UTF-8"}, "en"),
        ({"LANG": "POSIX", "LANGUAGE": "zh_CN"}, "en"),
    ],
)
def test_the_language_is_the_one_that_gettext_would_take(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], language: str
) -> None:
    for name in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert terminal_language() == language


def test_the_doctor_tells_each_step_in_chinese(server: Server, tmp_path: Path) -> None:
    env = ASKING | {"OVAUTH_API_KEY": server.operator_api_key}
    done = manage("doctor", "--url", server.url, data_dir=tmp_path / "laptop", env=env)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    lines = done.stdout.splitlines()
    assert lines[0] == f"{server.url}/mcp，从客户端的角度看"
    steps = lines[2:-2]
    assert {step[:2] for step in steps} == {"正常", "跳过"}
    assert not [step for step in steps if not CHINESE.search(step[2:])]
    assert {columns.taken(step[: re.match(r"(?:\S+ )*\S+ {2,}(?:\S+ )*\S+ {2,}", step).end()]) for step in steps} == {23}
    assert "已批准、已登录、tools/list 列出 3 个工具、已刷新、已撤销并被拒绝" in steps[-1]
    assert lines[-1] == "能连接：Claude Code、Cursor、VS Code、Codex、MCP Inspector、mcp-remote。"


def test_a_fault_is_told_in_chinese_to_people_and_in_english_to_programs(server: Server, tmp_path: Path) -> None:
    with between(server.url, on_request=lambda request: request.having(x_forwarded_host="ov.example.com")) as origin:
        done = manage("doctor", "--url", origin, data_dir=tmp_path / "laptop", env=ASKING)
        answer = manage("doctor", "--url", origin, "--json", data_dir=tmp_path / "laptop", env=ASKING)
    assert done.returncode == answer.returncode == 1
    assert "\nissuer-differs\n  /mcp 的 WWW-Authenticate 为 http://ov.example.com，而提供给" in done.stdout
    assert f"\n  影响     所有客户端\n  处理     设置：OVAUTH_PUBLIC_BASE_URL={origin}，然后重启" in done.stdout
    assert "\n不能连接：Claude Code、Cursor、" in done.stdout
    assert not CHINESE.search(answer.stdout)
    assert json.loads(answer.stdout)["faults"][0]["sentence"].startswith("The challenge of /mcp says http://ov.example.com")


def test_an_address_that_cannot_be_used_is_refused_in_chinese(tmp_path: Path) -> None:
    wrong = manage("doctor", "--url", "ov.example.com", data_dir=tmp_path / "data", env=ASKING)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == (
        "无法使用 --url ov.example.com：必须以 https:// 或 http:// 开头。请写成 https://ov.example.com 的形式\n"
    )


def test_a_script_that_wants_english_gets_it(tmp_path: Path) -> None:
    absent = f"http://127.0.0.1:{free_port()}"
    done = manage("doctor", "--url", absent, data_dir=tmp_path / "data", env=ASKING | {"LC_ALL": "C.UTF-8"})
    assert done.stdout.endswith("No client can connect.\n")


def test_the_check_tells_messages_and_hints_in_chinese(tmp_path: Path) -> None:
    done = manage("check", "--deploy", data_dir=tmp_path / "data", env=ASKING)
    said = done.stdout + done.stderr
    assert "(ovauth.W001) 未设置公开地址：" in said
    assert "\tHINT: 将 OVAUTH_PUBLIC_BASE_URL 设为人们使用的 https 地址，例如 https://ov.example.com\n" in said
    assert not [line for line in said.splitlines() if ("(ovauth." in line or "HINT" in line) and not CHINESE.search(line)]


def test_serve_and_what_it_serves_to_programs_stay_english(server: Server) -> None:
    """Its output is read by programs and kept in logs; a page goes by the browser, not by the terminal of the server."""
    assert not CHINESE.search(httpx2.get(f"{server.url}/console/login").text.replace("简体中文", ""))
    assert not CHINESE.search(httpx2.post(f"{server.url}/token", data={"grant_type": "password"}).text)
    assert CHINESE.search(httpx2.get(f"{server.url}/console/login", headers={"accept-language": "zh-CN"}).text)
    assert not CHINESE.search(server.output())


@pytest.mark.parametrize("fault", FAULTS.values(), ids=lambda fault: fault.id)
def test_every_fault_and_remedy_can_be_said_in_chinese(fault: Fault) -> None:
    """With what was found here in its places, and the snippets as they are."""
    for template in (fault.sentence, fault.remedy):
        names = {name for _, name, _, _ in string.Formatter().parse(template) if name}
        said = Said(template, **{name: f"‹{name}›" for name in names})
        with translation.override("zh-hans"):
            chinese = told(said, translation.gettext)
        assert CHINESE.search(chinese)
        assert {f"‹{name}›" for name in names} == set(re.findall("‹.*?›", chinese))
        assert sorted(re.findall("`.*?`", said)) == sorted(re.findall("`.*?`", chinese))


# ------------------------------------------------------------------ how it is laid out


@pytest.mark.parametrize("fault", FAULTS.values(), ids=lambda fault: fault.id)
def test_english_is_wrapped_as_ever(fault: Fault) -> None:
    for line in fault.remedy.splitlines():
        assert columns.wrapped(line, 60) == textwrap.wrap(line, 60, break_long_words=False, break_on_hyphens=False)


def test_chinese_is_wrapped_by_columns_and_no_line_begins_with_a_comma() -> None:
    said = "把整个根路径连同 `/mcp` 转发给 ovauth，（例如）Caddy：" * 9
    for width in range(20, 60):
        lines = columns.wrapped(said, width)
        assert max(map(columns.taken, lines)) <= width
        assert not [line for line in lines if line[0] in "，。：）" or line[-1] == "（"]
        assert "".join(lines).replace(" ", "") == said.replace(" ", "")


def test_a_name_is_padded_by_its_columns() -> None:
    assert columns.padded("时钟", 6) == "时钟  "
    assert columns.padded("clock", 6) == "clock "
