/* What pi.py does, with MPI: see there. Built where there is a compiler for MPI. */
#include <math.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

static long long points_of(long long radius, int part, int parts)
{
    long long points = 0;
    for (long long x = 1 + part; x <= radius; x += parts) {
        long long square = radius * radius - x * x, y = (long long)sqrt((double)square);
        while (y * y > square)
            y--;
        while ((y + 1) * (y + 1) <= square)
            y++;
        points += y;
    }
    return points;
}

int main(int argc, char **argv)
{
    int rank, size;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (argc != 3) {
        fprintf(stderr, "usage: %s RADIUS PARTS\n", argv[0]);
        MPI_Abort(MPI_COMM_WORLD, 2);
    }
    /* started by a scheduler that this MPI doesn't know: the embedded one */
    int ranks = size, me = rank;
    if (size == 1 && getenv("FLUX_TASK_RANK") && getenv("FLUX_JOB_SIZE")) {
        me = atoi(getenv("FLUX_TASK_RANK"));
        ranks = atoi(getenv("FLUX_JOB_SIZE"));
    }
    long long radius = atoll(argv[1]), mine = 0, all = 0;
    int parts = atoi(argv[2]);
    for (int part = me; part < parts; part += ranks) {
        long long points = points_of(radius, part, parts);
        char name[64];
        snprintf(name, sizeof name, "part-%d.json", part);
        FILE *out = fopen(name, "w");
        if (!out || fprintf(out, "{\"part\": %d, \"of\": %d, \"points\": %lld}\n", part, parts, points) < 0 || fclose(out))
            MPI_Abort(MPI_COMM_WORLD, 1);
        mine += points;
    }
    MPI_Reduce(&mine, &all, 1, MPI_LONG_LONG, MPI_SUM, 0, MPI_COMM_WORLD);
    if (rank == 0)
        fprintf(stderr, "%d processes by MPI: %lld points\n", size, all);
    MPI_Finalize();
    return 0;
}
