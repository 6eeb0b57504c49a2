#!/usr/bin/env bash
# Runs a server until our standard input ends, which is when whoever started us closes it or dies, however it dies.
# Then all of the server's processes are killed and FOLDER is removed.
#   guard.sh FOLDER COMMAND...        FOLDER/group: the server's process group, FOLDER/ended: it ended by itself
set -m # a process group of its own for what runs in the background

folder=$1
shift
{ "$@" </dev/null; echo "$?" >"$folder/ended"; } &
echo $! >"$folder/group"
read -r _
kill -KILL -- "-$!"
wait
rm -rf -- "$folder"
