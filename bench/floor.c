/* The floor: the agent's system calls, made by a C program that decides nothing.
 *
 *     [VERITY="1 OPTION"] floor TABLE [SYSROOT [RUN]]
 *
 * TABLE has a line for each layer, top first: file name, size in bytes, data blocks, root hash, salt. The store is
 * what is mounted at SYSROOT. What the agent does with these layers is done here in the same order (see
 * bootunion/plan.py, for_boot): loop, dm-verity and squashfs for each, one overlay with a volatile upper, the view of
 * the upper, the store at /pkgs, and the root put in the sysroot's place. Nothing is verified, decided or reported,
 * and each control node is opened once. VERITY has optional parameters of the dm-verity target (their number first). Prints the nanoseconds of each kind of step as one line of JSON.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <linux/loop.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* sys/mount.h and linux/mount.h exclude each other in the C library of Debian 12. */
int mount(const char *, const char *, const char *, unsigned long, const void *);
int umount2(const char *, int);
#define DETACH 2

#define MOST 512

static int trees[MOST], loops[MOST];
static long long spent[8];
enum { PREPARE, LOOP, VERITY, IMAGE, OVERLAY, FINISH, KINDS };
static const char *const names[] = {"prepare", "attach-loop", "create-verity", "mount-image", "mount-overlay", "finish"};

static long long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static long long since;

static void ended(int kind)
{
	long long t = now();
	spent[kind] += t - since;
	since = t;
}

static long check(long result, const char *what)
{
	if (result < 0) {
		fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
		exit(1);
	}
	return result;
}

static void write_file(const char *path, const char *text)
{
	char copy[4096];
	strcpy(copy, path);
	for (char *at = copy + 1; (at = strchr(at, '/')); at++) {
		*at = 0;
		mkdir(copy, 0755);
		*at = '/';
	}
	int fd = check(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644), path);
	check(write(fd, text, strlen(text)), path);
	close(fd);
}

static int attach_loop(int control, int packages, const char *file, long long size, char *path)
{
	int image = check(openat(packages, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), file);
	struct stat status;
	check(fstat(image, &status), file);
	if (status.st_size != size) {
		fprintf(stderr, "floor: %s has another size\n", file);
		exit(1);
	}
	sprintf(path, "/dev/loop%ld", check(ioctl(control, LOOP_CTL_GET_FREE), "LOOP_CTL_GET_FREE"));
	int device = check(open(path, O_RDONLY | O_CLOEXEC), path);
	struct loop_config config = {.fd = image, .block_size = 4096};
	config.info.lo_sizelimit = size;
	config.info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR;
	check(ioctl(device, LOOP_CONFIGURE, &config), path);
	close(image);
	return device;
}

static struct dm_ioctl *request(const char *name, unsigned flags)
{
	static char buffer[4096] __attribute__((aligned(8)));
	struct dm_ioctl *dm = (void *)buffer;
	memset(buffer, 0, sizeof buffer);
	dm->version[0] = 4;
	dm->data_size = dm->data_start = sizeof *dm;
	dm->flags = flags;
	strcpy(dm->name, name);
	return dm;
}

static void create_verity(int control, char *path, long long blocks, const char *root_hash, const char *salt)
{
	char name[64];
	sprintf(name, "bootunion-%.16s", root_hash);
	struct dm_ioctl *dm = request(name, 0);
	sprintf(dm->uuid, "BOOTUNION-%s", root_hash);
	check(ioctl(control, DM_DEV_CREATE, dm), name);
	unsigned long long device = dm->dev;
	dm = request(name, DM_READONLY_FLAG);
	struct dm_target_spec *target = (void *)(dm + 1);
	char *table = (void *)(target + 1);
	target->length = blocks * 8;
	strcpy(target->target_type, "verity");
	const char *options = getenv("VERITY");
	int length = sprintf(table, "1 %s %s 4096 4096 %lld %lld sha256 %s %s%s%s", path, path, blocks, blocks + 1, root_hash,
			     salt, options ? " " : "", options ? options : "");
	target->next = sizeof *target + (length + 8) / 8 * 8;
	dm->data_size = sizeof *dm + target->next;
	dm->target_count = 1;
	check(ioctl(control, DM_TABLE_LOAD, dm), name);
	check(ioctl(control, DM_DEV_SUSPEND, request(name, 0)), name);
	sprintf(path, "/dev/dm-%llu", (device & 0xff) | (device >> 12 & 0xfff00));
}

static int mount_image(const char *source)
{
	int context = check(syscall(SYS_fsopen, "squashfs", FSOPEN_CLOEXEC), "fsopen");
	check(syscall(SYS_fsconfig, context, FSCONFIG_SET_FLAG, "ro", NULL, 0), "ro");
	check(syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, "source", source, 0), source);
	check(syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0), source);
	int tree = check(syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY), source);
	close(context);
	return tree;
}

/* Layers by path, as on kernels before 6.15: short names, so that 500 fit into a page of options. */
static void mount_overlay(const char *workspace, int count)
{
	char place[4096], options[4096], number[16];
	sprintf(place, "%s/layers", workspace);
	check(mkdir(place, 0755), place);
	check(chdir(place), place);
	int at = sprintf(options,
			 "metacopy=off,redirect_dir=nofollow,index=off,xino=on,upperdir=%s/upper/upper,workdir=%s/upper/work,"
			 "lowerdir=",
			 workspace, workspace);
	for (int i = 0; i < count; i++) {
		sprintf(number, "%d", i);
		check(mkdir(number, 0755), number);
		check(syscall(SYS_move_mount, trees[i], "", AT_FDCWD, number, MOVE_MOUNT_F_EMPTY_PATH), number);
		at += sprintf(options + at, "%s%d", i ? ":" : "", i);
	}
	sprintf(place, "%s/root", workspace);
	check(mkdir(place, 0755), place);
	check(mount("bootunion", place, "overlay", 0, options), "overlay");
	for (int i = count - 1; i >= 0; i--) {
		sprintf(number, "%d", i);
		check(umount2(number, DETACH), number);
	}
	check(chdir("/"), "/");
}

static void show(int from, const char *name, unsigned long long attributes, const char *target)
{
	int tree = check(syscall(SYS_open_tree, from, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH), name);
	struct mount_attr wanted = {.attr_set = attributes};
	check(syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &wanted, sizeof wanted), name);
	check(syscall(SYS_move_mount, tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH), target);
	close(tree);
}

int main(int argc, char **argv)
{
	const char *sysroot = argc > 2 ? argv[2] : "/sysroot", *run = argc > 3 ? argv[3] : "/run";
	const unsigned long long quiet = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
	char workspace[1024], place[2048], path[64], file[512], root_hash[80], salt[80];
	long long size, blocks;
	int count = 0;
	since = now();
	FILE *table = fopen(argv[1], "re");
	check(table ? 0 : -1, "the table");
	int store = check(open(sysroot, O_RDONLY | O_DIRECTORY | O_CLOEXEC), sysroot);
	int packages = check(openat(store, "packages", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), "packages");
	int loop_control = check(open("/dev/loop-control", O_RDWR | O_CLOEXEC), "loop-control");
	int dm_control = check(open("/dev/mapper/control", O_RDWR | O_CLOEXEC), "mapper/control");
	sprintf(place, "%s/udev/rules.d/00-bootunion.rules", run);
	write_file(place, "# as long as the agent's\n");
	sprintf(workspace, "%s/bootunion/workspace", run);
	sprintf(place, "%s/bootunion", run);
	mkdir(place, 0755);
	check(mkdir(workspace, 0700), workspace);
	check(mount("bootunion", workspace, "tmpfs", MS_NODEV | MS_NOSUID, "mode=0700"), workspace);
	check(mount("", workspace, "", MS_PRIVATE, NULL), workspace);
	ended(PREPARE);
	while (count < MOST && fscanf(table, "%511s %lld %lld %79s %79s", file, &size, &blocks, root_hash, salt) == 5) {
		loops[count] = attach_loop(loop_control, packages, file, size, path);
		ended(LOOP);
		create_verity(dm_control, path, blocks, root_hash, salt);
		ended(VERITY);
		trees[count++] = mount_image(path);
		ended(IMAGE);
	}
	sprintf(place, "%s/upper", workspace);
	check(mkdir(place, 0755), place);
	check(mount("bootunion-upper", place, "tmpfs", 0, "mode=0755"), place);
	sprintf(place, "%s/upper/upper", workspace);
	check(mkdir(place, 0755), place);
	sprintf(place, "%s/upper/work", workspace);
	check(mkdir(place, 0755), place);
	mount_overlay(workspace, count);
	ended(OVERLAY);
	sprintf(place, "%s/bootunion/private", run);
	mkdir(place, 0700);
	sprintf(place, "%s/bootunion/private/upper", run);
	mkdir(place, 0755);
	char from[2048];
	sprintf(from, "%s/upper/upper", workspace);
	int upper = check(open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC), from);
	show(upper, from, quiet | MOUNT_ATTR_RDONLY, place);
	close(upper);
	sprintf(place, "%s/root/pkgs", workspace);
	show(store, sysroot, quiet, place);
	sprintf(place, "%s/systemd/system/pkgs.mount.d/50-bootunion.conf", run);
	write_file(place, "[Unit]\nDefaultDependencies=no\n");
	check(umount2(sysroot, DETACH), sysroot);
	sprintf(place, "%s/root", workspace);
	check(syscall(SYS_move_mount, AT_FDCWD, place, AT_FDCWD, sysroot, 0), sysroot);
	check(umount2(workspace, DETACH), workspace);
	check(rmdir(workspace), workspace);
	for (int i = 0; i < count; i++) {
		close(trees[i]);
		close(loops[i]);
	}
	ended(FINISH);
	printf("{");
	for (int i = 0; i < KINDS; i++)
		printf("%s\"%s\": %lld", i ? ", " : "", names[i], spent[i]);
	printf("}\n");
	return 0;
}
