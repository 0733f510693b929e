# build.sh PI.c PI.py: the program with MPI where there is a compiler for it, else the same in Python.
set -e
if command -v mpicc >/dev/null && command -v mpirun >/dev/null; then
    mpicc -O2 -o pi "$1" -lm
else
    cp "$2" pi
fi
chmod 755 pi
