"""The man pages are the specification: complete, well formed, and no more than the code does."""

import json
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from bootunion import cmdline, contents, manifest, state, trust
from bootunion.host import systemyaml
from bootunion.host.cli import cli
from bootunion.host.logins import users
from bootunion.package import Image
from bootunion.systemlist import Layer, Shadowing, SystemList

MAN = Path(__file__).resolve().parents[1] / "docs/man"
PAGES = sorted(MAN.iterdir())
DIGEST = "0" * 64
IMAGE = Image("erofs", 4096, 1, 4096, DIGEST, DIGEST, fsverity=DIGEST)


def documented(page: str, section: str) -> set[str]:
    """What the lists of a page's section describe."""
    text = (MAN / page).read_text().replace("\\\n", "")
    inside = re.search(rf"^\.Sh {section}\n(.*?)^\.Sh ", text, re.M | re.S)
    assert inside is not None
    items = re.findall(r"^\.It Cm (.+?)(?: Ns = .*)?$", inside[1], re.M)
    return {name for item in items for name in item.split(" , ")}


def fields(payload: bytes) -> set[str]:
    """The keys of a document: `key`, and `key.inner` for an object or a list of objects."""
    found = set()
    for key, value in json.loads(payload).items():
        found.add(key)
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                found |= {f"{key}.{inner}" for inner in one}
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_is_well_formed(page: Path) -> None:
    argv = ["mandoc", "-Tlint", "-Wwarning", str(page)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_groff_has_no_warning(page: Path) -> None:
    argv = ["groff", "-mandoc", "-Tutf8", "-ww", "-k", str(page)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_there_is_a_page_for_each_thing_that_is_specified() -> None:
    assert {page.name for page in PAGES} == {
        "bootunion.1", "bootunion.cmdline.7", "bootunion-package.5", "bootunion-list.5",
        "bootunion-system.yaml.5", "bootunion-assemble.service.8", "bootunion-users.yaml.5",
        "bootunion-root@.service.8", "bootunion-helper.service.8",
    }  # fmt: skip


def test_each_command_and_option_is_described() -> None:
    text = (MAN / "bootunion.1").read_text()
    sys.path.insert(0, str(MAN.parents[1] / "scripts"))
    import make_man

    for words, command in make_man.leaves(cli):
        section = text.partition(f"\n.Ss bootunion {' '.join(words)}\n")[2]
        section = re.split(r"^\.S[sh] ", section, maxsplit=1, flags=re.M)[0]
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                assert f".It Fl {option.opts[0][1:]}" in section, (words, option.name)
            if isinstance(option, click.Option) and isinstance(option.envvar, str):
                assert f".It Ev {option.envvar}\n" in text


def test_each_example_is_a_command_line_that_is_understood() -> None:
    text = (MAN / "bootunion.1").read_text().partition("\n.Sh EXAMPLES\n")[2]
    examples = re.findall(r"^bootunion (.+)$", text.partition("\n.Sh ")[0], re.M)
    assert len(examples) > 10
    for example in examples:
        command: click.Command = cli
        context = click.Context(cli, info_name="bootunion")
        words = example.split()
        while isinstance(command, click.Group):
            found = command.get_command(context, words.pop(0))
            assert found is not None, example
            command = found
        command.make_context(command.name, words, parent=context).close()


def test_each_kernel_parameter_is_described() -> None:
    assert documented("bootunion.cmdline.7", "PARAMETERS") == set(cmdline._READERS)


def test_each_key_of_system_yaml_is_described() -> None:
    local = {f"local.{key}" for key in systemyaml._LOCAL_KEYS}
    local |= {f"approve.{key}" for key in systemyaml._APPROVAL_KEYS}
    assert documented("bootunion-system.yaml.5", "KEYS") == set(systemyaml._KEYS) | local


def test_each_key_of_users_yaml_is_described() -> None:
    assert documented("bootunion-users.yaml.5", "KEYS") == set(users._KEYS)


def test_each_field_of_a_manifest_is_described() -> None:
    made = manifest.Manifest(
        "a", "1", "all", "", (), (), IMAGE, manifest.Source("deb", "a.deb", DIGEST),
        manifest.Contents(DIGEST, 1),
    )  # fmt: skip
    assert documented("bootunion-package.5", "MANIFEST") == fields(made.encode())


def test_each_field_of_contents_is_described() -> None:
    # `linking` may be described before it is there.
    found = documented("bootunion-package.5", "CONTENTS")
    assert found - {"linking"} == set(contents.Entry._fields) - {"linking"}


def test_each_field_of_a_list_is_described() -> None:
    made = SystemList(
        "a", 1, 0, 0, "amd64", "", (Layer("a", "1", "all", IMAGE),), "none", DIGEST,
        shadowings=(Shadowing("a", "b", "c"),),
    )  # fmt: skip
    indexed = made._replace(index_layer=made.layers[0])
    inside = {f"index.{key}" for key in fields(made.encode()) if key.startswith("layers.")}
    found = {one for one in fields(indexed.encode()) if not one.startswith("index.")}
    assert inside
    assert documented("bootunion-list.5", "FIELDS") == found


def test_each_field_of_the_state_is_described() -> None:
    found = documented("bootunion-list.5", "STATE")
    assert found == {"schema", *state.State._fields}


def test_each_field_of_a_trust_store_is_described() -> None:
    made = trust.Trust({}, {role: trust.Role((), 1) for role in trust.PAYLOAD_TYPES})
    top = {key.partition(".")[0] for key in fields(made.encode())}
    assert documented("bootunion-list.5", "TRUST STORE") == top
