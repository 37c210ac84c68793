/* stamp FILE ID: appends "ID nanoseconds" of the monotonic clock, read as early as a C program can. Linked statically, so that no
 * loader runs before it. */
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct timespec now;
	char line[64];
	int file, length;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (argc != 3 || (file = open(argv[1], O_WRONLY | O_APPEND)) < 0)
		return 1;
	length = snprintf(line, sizeof line, "%.20s %lld\n", argv[2], now.tv_sec * 1000000000LL + now.tv_nsec);
	return write(file, line, length) != length;
}
