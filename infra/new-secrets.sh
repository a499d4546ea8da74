#!/bin/sh
# Copy every *.env.example below infra/ to *.env, once, and fill what is empty with random values.
# Git ignores the copies; nobody else may read them. Delete one, or empty a value in it, to get a new value.
set -eu
cd "$(dirname "$0")"
umask 077

random() { od -An -v -N20 -tx1 /dev/urandom | tr -d ' \n'; }

for example in compose/.env.example kubernetes/secrets/*.env.example; do
    secrets=${example%.example}
    [ -e "$secrets" ] || cp "$example" "$secrets"
    while IFS= read -r line; do
        case $line in
            *=) echo "$line$(random)" ;;
            *) echo "$line" ;;
        esac
    done <"$secrets" >"$secrets.new"
    mv "$secrets.new" "$secrets"
    echo "infra/$secrets"
done
