"""A root that cannot be entered, or whose kernel does not fit, is found before it is booted."""

import elves
import pytest
from small_system import KERNEL, Shop, listed, modules, program

from bootunion import checks
from bootunion.checks import FATAL, INFO, WARNING
from bootunion.checks.limits import MAX_OPTIONS, options_length


def test_a_system_that_is_right_has_no_finding(small: Shop) -> None:
    assert small.check(small.layers()) == []


@pytest.mark.parametrize(
    ("files", "package"),
    [
        ({}, ""),
        ({"usr/sbin/init": "/usr/lib/other"}, "wrong"),
        ({"usr/sbin/init": None}, "wrong"),
        ({"usr/sbin/init": b"not executable"}, "wrong"),
        ({"usr/sbin/init": "init"}, "wrong"),
    ],
)
def test_no_init(files: dict[str, object], package: str, small: Shop) -> None:
    wrong = small.build("wrong", files)  # type: ignore[arg-type]
    without = ("init",) if not files else ()
    one = small.finding("init-missing", small.layers(wrong, without=without))
    assert (one.severity, one.path, one.package) == (FATAL, "/sbin/init", package)


def test_an_init_is_followed_through_symlinks_and_chosen_by_the_order(small: Shop) -> None:
    right = small.build("right", {"usr/sbin/init": "/lib/x", "usr/lib/x": program("libc.so.6")})
    assert [one.code for one in small.check(small.layers(right))] == ["shadowed"]


def test_no_os_release(small: Shop) -> None:
    wrong = small.build("wrong", {"usr/lib/os-release": None})
    one = small.finding("os-release-missing", small.layers(wrong))
    assert (one.severity, one.path, one.package) == (FATAL, "/etc/os-release", "base")


@pytest.mark.parametrize("path", ["proc", "sys", "dev", "run", "pkgs"])
def test_no_mount_point(path: str, small: Shop) -> None:
    wrong = small.build("wrong", {path: b""})
    one = small.finding("mount-point-missing", small.layers(wrong))
    assert (one.severity, one.path, one.package) == (FATAL, f"/{path}", "wrong")
    elsewhere = small.build("right", {path: "/var/x", "var/x": None})
    assert not [one for one in small.check(small.layers(elsewhere))
                if one.code == "mount-point-missing"]  # fmt: skip


def test_no_unit_to_wait_for(small: Shop) -> None:
    wrong = small.build("wrong", {"usr/lib/systemd/system/x@.service": b"[Unit]\n"})
    units = ("multi-user.target", "x@1.service", "home.mount", "y.service")
    one = small.finding("unit-missing", small.layers(wrong), good_when=units)
    assert one.severity == WARNING and "y.service" in one.text


def test_no_modules_for_the_list_s_kernel(small: Shop) -> None:
    one = small.finding("modules-missing", small.layers(), kernel="6.2-other")
    assert (one.severity, one.path) == (FATAL, "/usr/lib/modules/6.2-other/modules.dep")
    hides = small.build("hides", {f"usr/lib/modules/{KERNEL}/modules.dep": None})
    one = small.finding("modules-missing", small.layers(hides))
    assert (one.severity, one.package) == (FATAL, "kernel")


def test_only_a_list_of_modules(small: Shop) -> None:
    only = small.build("only", {f"usr/lib/modules/{KERNEL}/modules.dep": b""})
    one = small.finding("modules-missing", small.layers(only, without=["kernel"]))
    assert (one.severity, one.package) == (WARNING, "only")


def test_modules_that_depmod_has_not_seen(small: Shop) -> None:
    bare = small.build("bare", modules("6.3-bare", "b"))
    layers = small.layers(bare, without=["kernel"])
    one = small.finding("modules-missing", layers, kernel="")
    assert (one.severity, one.package) == (WARNING, "bare")
    # What is not composed yet has no output of depmod.
    system = listed(layers, kernel="")
    found = checks.check(system, small.merged(layers), layers, composed=False)
    assert "modules-missing" not in [each.code for each in found]


def test_modules_of_several_kernels(small: Shop) -> None:
    other = small.build(
        "other", {**modules("6.9-x", "b"), "usr/lib/modules/6.9-x/modules.dep": b""}
    )
    one = small.finding("kernel-several", small.layers(other), kernel="")
    assert one.severity == WARNING and "kernel" in one.text and KERNEL in one.text
    one = small.finding("modules-unused", small.layers(other))
    assert (one.severity, one.package) == (INFO, "other")


@pytest.mark.parametrize("also", [{}, {f"usr/lib/modules/{KERNEL}/modules.dep": b"extra/b.ko:\n"}])
def test_a_modules_dep_that_does_not_know_another_package_s_modules(
    also: dict[str, bytes], small: Shop
) -> None:
    files = {f"usr/lib/modules/{KERNEL}/extra/b.ko": b"", **also}
    extra = small.build("extra", files)  # type: ignore[arg-type]
    one = small.finding("modules-dep-foreign", small.layers(extra))
    assert (one.severity, one.path) == (WARNING, f"/usr/lib/modules/{KERNEL}/modules.dep")
    assert "extra" in one.text and "kernel" in one.text
    # depmod's output in the generated layer knows all of them.
    generated = small.build("small-generated", {f"usr/lib/modules/{KERNEL}/modules.dep": b"all"})
    assert small.check(small.layers(generated, extra)) == [] or also


@pytest.mark.parametrize("path", ["bin", "sbin", "lib", "lib64"])
def test_a_real_directory_that_hides_merged_usr(path: str, small: Shop) -> None:
    wrong = small.build("wrong", {f"{path}/x": b""})
    one = small.finding("merged-usr", small.layers(wrong))
    assert (one.severity, one.path, one.package) == (FATAL, f"/{path}", "wrong")
    assert checks.severity(
        next(pair for pair in small.merged(small.layers(wrong)).contested if pair.path == path),
        listed(small.layers(wrong)),
    ) == FATAL  # fmt: skip


def test_no_symlink_of_merged_usr(small: Shop) -> None:
    files = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib"}
    layers = small.layers(small.build("some", files), without=["base"])  # type: ignore[arg-type]
    one = small.finding("merged-usr-missing", layers)
    assert (one.severity, one.path, one.package) == (WARNING, "/lib64", "libc")


def test_more_layers_than_an_overlay_takes(small: Shop) -> None:
    many = [small.base["kernel"]._replace(name=f"p{number}") for number in range(496)]
    one = small.finding("layers-too-many", small.layers(below=many))
    assert (one.severity, one.package) == (FATAL, "p494") and "502" in one.text
    assert not [one for one in small.check(small.layers(below=many[:-2])) if one.severity == FATAL]


@pytest.mark.parametrize(("kernel", "severity"), [("6.1.0-9", FATAL), ("", WARNING), ("6.15", "")])
def test_mount_options_that_do_not_fit(kernel: str, severity: str, small: Shop) -> None:
    kernel_package = small.base["kernel"]
    image = kernel_package.image._replace(root="/" + "r" * 127)
    long = [kernel_package._replace(name=f"p{number}", image=image) for number in range(40)]
    layers = small.layers(below=long)
    codes = {one.code: one for one in small.check(layers, kernel=kernel)}
    if severity:
        one = small.finding("mount-options-long", layers, kernel=kernel)
        assert (one.severity, one.package) == (severity, "p0")
        assert str(options_length(listed(layers))) in one.text
    else:
        assert "mount-options-long" not in codes


def test_the_length_of_mount_options_is_what_the_agent_gives(
    small: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bootunion import operations, plan
    from bootunion.initrd import executor

    system = listed(small.layers())
    (todo,) = (one for one in plan.for_boot(system, plan.Places())
               if isinstance(one, operations.MountOverlay))  # fmt: skip
    options = {**executor._SAFE, "upperdir": f"{todo.upper}/upper", "workdir": f"{todo.upper}/work"}
    text = ",".join(f"{key}={value}" for key, value in options.items())
    assert options_length(system) == len(f"{text},lowerdir=0:1:2:3:4:5")
    assert options_length(system) < MAX_OPTIONS


def test_an_overlay_on_stacked_file_systems(small: Shop) -> None:
    kernel = small.base["kernel"]
    stacked = kernel._replace(name="stacked", image=kernel.image._replace(format="other"))
    one = small.finding("stacking-depth", small.layers(below=[stacked]))
    assert (one.severity, one.package) == (WARNING, "stacked")


def test_an_init_s_loader_and_libraries(small: Shop) -> None:
    for without, path, wanted in (
        ("libc", "/usr/lib/systemd/private/libinit.so.1.2", "libc.so.6"),
        ("libinit", "/usr/lib/systemd/systemd", "libinit.so.1"),
    ):
        layers = small.layers(without=[without, "shell"])
        (one,) = (each for each in small.check(layers)
                  if each.code == "library-missing" and wanted in each.text)  # fmt: skip
        assert (one.severity, one.path) == (FATAL, path)
        assert one.path in one.text and one.package in one.text and wanted in one.way_out
    one = small.finding("interpreter-missing", small.layers(without=["libc", "shell"]))
    assert (one.severity, one.package) == (FATAL, "init")
    assert "/lib64/ld-linux-x86-64.so.2" in one.text


def test_an_init_of_another_machine(small: Shop) -> None:
    foreign = elves.elf(machine=elves.AARCH64, interpreter="/lib/ld-linux-aarch64.so.1")
    wrong = small.build("wrong", {"usr/lib/systemd/systemd": foreign})
    one = small.finding("machine-foreign", small.layers(wrong))
    assert (one.severity, one.package) == (FATAL, "wrong") and "64-aarch64" in one.text


def test_an_init_that_is_a_script(small: Shop) -> None:
    script = small.build("script", {"usr/sbin/init": b"#!/bin/none\n"})
    one = small.finding("script-interpreter-missing", small.layers(script))
    assert (one.severity, one.path, one.package) == (FATAL, "/usr/sbin/init", "script")
    # What its interpreter needs is needed to start, too.
    right = small.build("right", {"usr/sbin/init": b"#!/bin/sh\n"})
    fatal = [one.text for one in small.check(small.layers(right, without=["libc"]))
             if one.code == "library-missing" and one.severity == FATAL]  # fmt: skip
    assert len(fatal) == 1 and "/usr/bin/sh" in fatal[0]
