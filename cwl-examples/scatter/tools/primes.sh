# primes.sh FILE...: the numbers that have no factor but themselves, from what factor wrote about each.
cat "$@" | while read -r number first more; do
    if [ "$first" = "${number%:}" ]; then
        echo "$first"
    fi
done | sort -n
