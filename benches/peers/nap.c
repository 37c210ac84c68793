/* A child that works for a while without burning anything: `nap NAME-MICROSECONDS` sleeps that long from its
 * first line on and then writes `nap NAME-MICROSECONDS START END SLOT`: nanoseconds since the epoch, and the
 * number of the slot whose lock file it has inherited (0 without one). One that is killed writes nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static long long now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_REALTIME, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static int slot(void)
{
	for (int descriptor = 64; descriptor < 96; descriptor++) {
		char link[32], path[4096];
		snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
		ssize_t length = readlink(link, path, sizeof path - 1);
		if (length < 0)
			continue;
		path[length] = 0;
		const char *file = strrchr(path, '/');
		if (file && !strncmp(file, "/slot.", 6))
			return atoi(strrchr(file, '.') + 1);
	}
	return 0;
}

int main(int count, char **arguments)
{
	long long start = now();
	const char *micros = count == 2 ? strrchr(arguments[1], '-') : NULL;
	if (!micros)
		return 2;
	int held = slot();
	long long left;
	while ((left = start + atoll(micros + 1) * 1000 - now()) > 0) {
		struct timespec rest = {left / 1000000000, left % 1000000000};
		nanosleep(&rest, NULL);
	}
	char line[512];
	int length = snprintf(line, sizeof line, "nap %s %lld %lld %d\n", arguments[1], start, now(), held);
	return write(1, line, length) != length;
}
