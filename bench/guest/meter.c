/* Runs one program and says what it cost: the guest's clock from fork to its end, and memory.
 *
 *     meter FILES PROGRAM ARGUMENT...
 *
 * FILES lists files, one a line, that are read into the page cache first. Prints one line of JSON behind the word
 * METER: times are CLOCK_MONOTONIC in nanoseconds, memory is /proc/meminfo's KiB: "base" with nothing cached, "before"
 * and "after" the program, "dropped" once the kernel has dropped every cache again. cpu_us is what the program and its
 * children computed: the rest was waiting and the kernel's own threads.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *const fields[] = {"MemFree:", "MemAvailable:", "Slab:", "SReclaimable:", "SUnreclaim:",
				     "VmallocUsed:", "Percpu:", "KernelStack:", "PageTables:", "Cached:", "Buffers:"};
enum { FIELDS = sizeof fields / sizeof *fields };

static long long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void read_memory(long *values)
{
	char name[64];
	long value;
	FILE *file = fopen("/proc/meminfo", "re");
	while (fscanf(file, "%63s %ld%*[^\n]", name, &value) == 2)
		for (int i = 0; i < FIELDS; i++)
			if (!strcmp(name, fields[i]))
				values[i] = value;
	fclose(file);
}

static void show_memory(const char *when, const long *values)
{
	printf(", \"%s\": {", when);
	for (int i = 0; i < FIELDS; i++)
		printf("%s\"%.*s\": %ld", i ? ", " : "", (int)strlen(fields[i]) - 1, fields[i], values[i]);
	printf("}");
}

static void drop(void)
{
	sync();
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
	for (int i = 0; i < 3; i++)
		if (write(fd, "3", 1) != 1)
			perror("meter: drop_caches");
	close(fd);
}

static void read_files(const char *list)
{
	static char buffer[1 << 20], name[4096];
	FILE *names = fopen(list, "re");
	while (names && fscanf(names, "%4095s", name) == 1) {
		int fd = open(name, O_RDONLY | O_CLOEXEC);
		while (read(fd, buffer, sizeof buffer) > 0)
			;
		close(fd);
	}
	if (names)
		fclose(names);
}

int main(int argc, char **argv)
{
	long base[FIELDS] = {0}, before[FIELDS] = {0}, right_after[FIELDS] = {0}, dropped[FIELDS] = {0};
	struct rusage used;
	int status;
	if (argc < 3)
		return 2;
	drop();
	read_memory(base);
	read_files(argv[1]);
	read_memory(before);
	fflush(stdout);
	long long start = now();
	pid_t child = vfork();
	if (child == 0) {
		execv(argv[2], argv + 2);
		_exit(127);
	}
	wait4(child, &status, 0, &used);
	long long end = now();
	read_memory(right_after);
	drop();
	read_memory(dropped);
	printf("METER {\"status\": %d, \"started\": %lld, \"ns\": %lld, \"max_rss\": %ld, \"cpu_us\": %ld", status,
	       start, end - start, used.ru_maxrss,
	       (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000 + used.ru_utime.tv_usec + used.ru_stime.tv_usec);
	show_memory("base", base);
	show_memory("before", before);
	show_memory("after", right_after);
	show_memory("dropped", dropped);
	printf("}\n");
	return 0;
}
