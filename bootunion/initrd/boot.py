"""Boots a list: choose a generation, verify its list, count the try, carry out the plan."""

from __future__ import annotations

import os
import time

from bootunion import choice, cmdline, dsse, plan, systemlist, trust
from bootunion.choice import Candidate
from bootunion.errors import BootunionError
from bootunion.state import State
from bootunion.systemlist import SystemList
from bootunion.values import NamedTuple

from . import descriptors
from . import state as keeping
from .executor import Executor
from .report import Report
from .scopes import Stack, suppress
from .state import Keeper
from .store import Store

_MOST_NAMES = 4096


class Inputs(NamedTuple):
    """Where the agent finds what it works from; the defaults are those of an initramfs."""

    sysroot: str = "/sysroot"
    run: str = "/run"
    cmdline: str = "/proc/cmdline"
    trust: str = "/etc/bootunion/trust"
    kmsg: str = "/dev/kmsg"
    keep_running: bool = False  # a test outlives a refusal; a machine does what on-failure= says
    wait_only: bool = False


class _Boot(NamedTuple):
    """What one boot works with."""

    inputs: Inputs
    settings: cmdline.Settings
    report: Report
    store: Store
    keeper: Keeper
    machine: plan.Machine


def boot(inputs: Inputs, settings: cmdline.Settings, report: Report) -> None:
    """Make the root at `inputs.sysroot` of the best generation that may be booted.

    Each generation that is passed over is in the report. Raises BootunionError when none is left;
    then nothing that was made is left.
    """
    machine = plan.Machine(os.uname().machine, os.uname().release)
    with Stack() as stack:
        place = inputs.sysroot
        if settings.store:
            place = f"{inputs.run}/bootunion/store"
            with report.step("wait-for-store"):
                _mount_store(settings, place, stack)
        elif not os.path.ismount(place):
            text = "no file system is mounted there: the device of root= did not come"
            raise BootunionError("store-missing", text, subject=place)
        store = stack.enter_context(Store(place, settings.directory))
        keeper = Keeper(store, settings.list_name)
        this = _Boot(inputs, settings, report, store, keeper, machine)
        # Making a file system writable, or read-only again, can take longer than all that is
        # written: once for everything that comes before the first root is made.
        writing = Stack()
        stack.callback(_stop_writing, writing)
        with suppress(OSError):
            writing.enter_context(keeping.writable(store))
        _choose(this, writing)


def _stop_writing(writing: Stack) -> None:
    # A store that stays writable is no reason to refuse what is in it.
    with suppress(OSError):
        writing.close()


def _choose(this: _Boot, writing: Stack) -> None:
    """Boot the first candidate that can be booted; the store is writable until `writing` ends."""
    memory = _recall(this)
    refused: list[BootunionError] = []
    try:
        trusted = _believe(this, memory)
    except BootunionError as distrust:
        raise _nothing_left(this, memory, [distrust]) from None
    memory = memory.believing(*trusted.seen)
    counting = _remember(this, memory)
    worn_out: set[int] = set()
    for candidate in _candidates(this, memory, counting, refused):
        if candidate.last_resort and candidate.generation not in worn_out:
            continue  # it was refused for what a second look does not change
        try:
            system = _read_list(this, trusted, candidate.generation)
            _refuse(this, system, candidate, memory)
            _note(this, system, candidate)
            if counting:
                memory = memory.count_try(candidate.generation)
                counting = _count(this, memory)
            _stop_writing(writing)
            _assemble(this, system, candidate)
            return
        except BootunionError as refusal:
            error = refusal
        except Exception as mistake:
            # A mistake in the agent is a refusal of this generation, and the next one's chance.
            error = BootunionError("agent-failed", f"{type(mistake).__name__}: {mistake}")
        this.report.pass_over(candidate.generation, candidate.why, error)
        refused.append(error)
        if error.code == "tries-exhausted":
            worn_out.add(candidate.generation)
    raise _nothing_left(this, memory, refused)


def _recall(this: _Boot) -> State:
    """The state, with this boot counted."""
    with this.report.step("read-state"):
        memory = this.keeper.load()
    if this.keeper.problem:
        this.report.warn(this.keeper.problem)
    memory = memory._replace(boots=memory.boots + 1)
    this.report.number = memory.boots
    return memory


def _remember(this: _Boot, memory: State) -> bool:
    """Whether the state could be written, so that tries can be counted."""
    with this.report.step("write-state"):
        counting = this.keeper.save(memory)
    if not counting and this.keeper.problem:
        this.report.warn(this.keeper.problem)
    return counting


def _believe(this: _Boot, memory: State) -> trust.Trust:
    """The newest version of the trust store: the initramfs's, then those in the store."""
    path = f"{this.inputs.trust}/{trust.FILE_NAME}"

    def in_store(version: int) -> bytes:
        return this.store.read(trust.DIRECTORY, f"{version}.json", limit=trust.MAX_SIZE)

    with this.report.step("read-trust"):
        try:
            with open(path, "rb") as file:
                anchor = file.read(trust.MAX_SIZE + 1)
        except OSError as error:
            text = f"cannot be read: {error.strerror}"
            raise BootunionError("trust-invalid", text, subject=path) from None
        seen = trust.Seen(memory.trust, memory.trust_digest)
        now = max(int(time.time()), memory.time)  # a clock that is behind ends no expiry
        chain = trust.load(anchor, [in_store], seen=seen, now=now, subject=path)
    for refusal in chain.refusals:
        this.report.warn(refusal)
    this.report.facts["trust"] = chain.trust.version
    _show_anchor(this, anchor)
    return chain.trust


def _show_anchor(this: _Boot, anchor: bytes) -> None:
    """Leave the anchor for the running system, which does not see the initramfs."""
    directory = f"{this.inputs.run}/bootunion/trust"
    with suppress(OSError):
        os.makedirs(directory, exist_ok=True)
        with open(f"{directory}/{trust.FILE_NAME}", "wb") as file:
            file.write(anchor)


def _count(this: _Boot, memory: State) -> bool:
    """Write the state, and the report as far as it is, before anything is tried."""
    with this.report.step("count-try"), suppress(OSError), keeping.writable(this.store):
        if this.keeper.save(memory):
            this.report.copy_to(this.store, "trying")
            return True
    if this.keeper.problem:
        this.report.warn(this.keeper.problem)
    return False


def _candidates(
    this: _Boot, memory: State, counting: bool, refused: list[BootunionError]
) -> tuple[Candidate, ...]:
    name, current = this.settings.list_name, 0
    try:
        current = this.store.current(name)
    except BootunionError as error:
        if not this.settings.generation:
            this.report.warn(error)
            refused.append(error)
    stored = keeping.names(this.store, "lists", name, most=_MOST_NAMES)
    generations = [
        int(one.removesuffix(".json"))
        for one in stored
        if one.endswith(".json") and systemlist.GENERATION.match(one.removesuffix(".json"))
    ]
    return choice.order(this.settings.generation, current, generations, memory, counting=counting)


def _read_list(this: _Boot, trusted: trust.Trust, generation: int) -> SystemList:
    name = this.settings.list_name
    subject = f"lists/{name}/{generation}.json"
    with this.report.step("read-list"):
        data = this.store.read("lists", name, f"{generation}.json", limit=systemlist.MAX_SIZE)
        envelope = dsse.decode(data, subject=subject)
    with this.report.step("verify-list"):
        payload, signers = trust.open_envelope(trusted, trust.ROLE_LIST, envelope, subject=subject)
        system = systemlist.decode(payload, subject=subject)
        systemlist.check_place(system, name, generation, subject=subject)
    key_names = ", ".join(signer[:16] for signer in signers)
    this.report.say(f"{subject} is signed by {key_names}: {len(system.layers)} packages")
    this.report.facts["signers"] = signers
    return system


def _refuse(this: _Boot, system: SystemList, candidate: Candidate, memory: State) -> None:
    now = int(time.time())
    for refusal in (
        *plan.refusals(system, this.machine),
        *choice.refusals(system, candidate, memory, now),
    ):
        raise refusal
    for warning in choice.expired(system, max(now, memory.time)):
        this.report.warn(warning)


def _note(this: _Boot, system: SystemList, candidate: Candidate) -> None:
    """What is tried, for the report that is written before it is."""
    this.report.facts["list"] = {
        "name": system.name, "generation": system.generation, "floor": system.floor,
        "created": system.created, "why": candidate.why,
    }  # fmt: skip
    this.report.facts["packages"] = len(system.layers)


def _assemble(this: _Boot, system: SystemList, candidate: Candidate) -> None:
    report = this.report
    start = time.monotonic_ns()
    if candidate.last_resort:
        # No restart may come of it: there is nothing better to restart into.
        system = system._replace(corruption=systemlist.EIO)
    # The steps tell layers by position; after the report's first copy, which names would only grow.
    report.facts["layers"] = [layer.name for layer in system.packages]
    executor = _execute_somehow(this, system)
    for left_out in executor.left_out.values():
        report.warn(left_out)
    took = (time.monotonic_ns() - start) // 1_000_000
    present = len(system.layers) - len(executor.left_out)
    report.say(f"assembled the root of {present} packages in {took} ms")


def _execute_somehow(this: _Boot, system: SystemList) -> Executor:
    """Carry out the plan; what the kernel cannot do of it is done in the way before.

    It is the same packages and the same namespace, verified as well: only slower. The plan says so
    beforehand.
    """
    by_file = plan.mounts_files(this.machine.kernel)
    while True:
        try:
            return _execute(this, system, by_file)
        except BootunionError as error:
            if by_file and error.code == "file-mount-unsupported":
                by_file = False
            elif error.code == "index-unsupported" and len(system.layers) <= systemlist.MAX_LAYERS:
                system = system._replace(index_layer=None)
            else:
                raise
            this.report.warn(error)


def _execute(this: _Boot, system: SystemList, by_file: bool) -> Executor:
    report = this.report
    if by_file and system.index_layer:
        descriptors.allow(len(system.packages))
    with Executor(this.store, report.steps.append) as executor:
        places = plan.Places(this.inputs.sysroot, this.inputs.run)
        executor.execute(plan.for_boot(system, places, by_file=by_file))
        report.facts["union"] = plan.union(system)
        report.facts["by_file"] = executor.by_file
        report.facts["overlay_layers_by"] = executor.interface
        report.leave_out(system.layers[index].stem for index in executor.left_out)
    return executor


def _nothing_left(this: _Boot, memory: State, refused: list[BootunionError]) -> BootunionError:
    name = this.settings.list_name
    if not refused:
        error = BootunionError("list-missing", "the store has no generation of it", subject=name)
    elif len(refused) == 1:
        error = refused[0]
    else:
        text = f"none of {len(refused)} generations can be booted; the first: {refused[0]}"
        error = BootunionError("no-generation-left", text, subject=f"list {name}")
    facts = this.report.facts
    facts["error"], facts["action"] = error.as_json(), this.settings.on_failure
    if this.settings.on_failure == cmdline.REBOOT:
        again = memory._replace(reboots=memory.reboots + 1)
        # Without a count it would reboot for ever.
        if memory.reboots >= this.settings.reboots or not this.keeper.save(again):
            facts["action"] = cmdline.HALT
    this.report.copy_to(this.store, "refused")
    return error


def _mount_store(settings: cmdline.Settings, place: str, stack: Stack) -> None:
    # pyudev is imported only by machines that wait for a device.
    from . import device, mount  # noqa: PLC0415

    node, fstype = device.wait(settings.store, settings.timeout)
    device.mount_store(node, fstype, place)
    # The new root has a clone of this mount; the one here goes in any case.
    stack.callback(mount.unmount, place, mount.MNT_DETACH)
