"""Roots for others: at a directory, for a service, for users from login on."""

from __future__ import annotations

from pathlib import Path

import click

from bootunion.host import console

from .options import DIRECTORY, json_option, list_names, store_option, trust_option


@click.command()
@click.argument("list_name", metavar="LIST", shell_complete=list_names)
@click.argument("directory", metavar="DIR", type=DIRECTORY)
@click.option("--with", "with_", multiple=True, metavar="PACKAGE",
              help="One more package: NAME, NAME=VERSION or a root hash (repeatable).")  # fmt: skip
@click.option("--without", multiple=True, metavar="PACKAGE",
              help="Leave a package out (repeatable).")  # fmt: skip
@store_option
@trust_option
def mount(list_name: str, directory: Path, with_: tuple[str, ...], without: tuple[str, ...],
          store_path: Path, trust_path: Path) -> None:  # fmt: skip
    """Show the root that LIST (LIST@GENERATION) makes at DIR, read-only, until `umount DIR`.

    Nothing of the machine's own root is in it. Needs root. When its last user is gone no device is
    left.
    """
    from bootunion.host.logins import mounting
    from bootunion.host.logins.system import System
    from bootunion.host.processes.selecting import Wanted

    wanted = Wanted(list_name, with_, without)
    selected = mounting.put(wanted, directory, System(store_path, trust_path))
    print(f"{len(selected.picks)} packages at {directory}; `umount {directory}` takes them away")


@click.command()
@click.argument("unit", metavar="UNIT.service")
@click.option("--list", "list_name", default="", metavar="LIST", shell_complete=list_names,
              help="The list whose root the service gets.")  # fmt: skip
@click.option("--bind", "bound", multiple=True, metavar="PATH",
              help="A path of the machine that the service sees, too (repeatable).")  # fmt: skip
@click.option("--remove", is_flag=True, help="Take the drop-in away again.")
@click.option("--print", "only_print", is_flag=True, help="Print the drop-in; write nothing.")
@click.option("--units", type=DIRECTORY, default=Path("/etc/systemd/system"), show_default=True,
              help="Where the drop-in goes.")  # fmt: skip
def service(unit: str, list_name: str, bound: tuple[str, ...], remove: bool, only_print: bool,
            units: Path) -> None:  # fmt: skip
    """Give one systemd service a list's root, by a drop-in.

    `systemctl daemon-reload` and a restart of the service put it into force.
    """
    from bootunion.host.logins import services

    if remove:
        print(
            f"{services.remove(unit, units)} is gone; `systemctl daemon-reload` lets systemd know"
        )
        return
    name = _checked_list(list_name)
    if only_print:
        print(services.drop_in(unit, name, bound), end="")
        return
    path = services.write(unit, name, bound, units)
    print(f"{path} is written; `systemctl daemon-reload` and a restart put it into force")


@click.command(name="login-root")
@click.argument("user", metavar="USER")
@click.option("--users", "table", type=click.Path(path_type=Path, dir_okay=False),
              default=Path("/etc/bootunion/users.yaml"), show_default=True,
              help="Which users see which packages.")  # fmt: skip
@store_option
@trust_option
@json_option
def login_root(user: str, table: Path, store_path: Path, trust_path: Path,
               as_json: bool) -> None:  # fmt: skip
    """Say which root USER gets at login, and whether it could be made now.

    Ends with the refusal that would keep USER out; nothing is changed. pam_namespace makes the root
    (docs/logins.md).
    """
    from bootunion.host.logins import system, users
    from bootunion.host.processes.selecting import Wanted

    known = users.look_up(user)
    entry = users.find(users.read(table), known)
    member = users.MEMBERS in known.groups
    count = 0
    if entry is not None:
        wanted = Wanted(entry.list_name, entry.with_, entry.without)
        count = len(system.packages(wanted, system.System(store_path, trust_path)).picks)
    if as_json:
        console.show_json({"user": user, "entry": entry._asdict() if entry else None,
                           "member": member, "packages": count})  # fmt: skip
        return
    if entry is None:
        print(f"{user} has no entry and keeps the machine's root")
    else:
        print(f"{user} gets {count} packages by the entry of {entry.who}")
    if entry is not None and not member:
        print(f"but is no member of {users.MEMBERS}: `gpasswd -a {user} {users.MEMBERS}`")


def _checked_list(name: str) -> str:
    from bootunion import systemlist
    from bootunion.errors import BootunionError

    if not systemlist.LIST_NAME.match(name):
        raise BootunionError("name-invalid", f"{name!r} is not the name of a list")
    return name
