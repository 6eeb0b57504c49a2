#!/usr/bin/env bash
# Runs a server until our standard input ends, which is when whoever started us closes it or dies, however it dies.
# Then all of the server's processes are killed and FOLDER is removed.
#   guard.sh FOLDER COMMAND...        FOLDER/group: the server's process group, FOLDER/ended: it ended by itself
set -m # a process group of its own for what runs in the background

folder=$1
shift
{ "$@" </dev/null; echo "$?" >"$folder/ended"; } &
group=$!
echo "$group" >"$folder/group"
read -r _
kill -KILL -- "-$group"
wait
# Only the group's first process is ours to wait for. The others are gone, with their ports, once all of their
# threads are: a process counts as a zombie before its last thread has let go of the sockets.
while grep -Eqs "\) [^ZX] [0-9]+ $group " /proc/[0-9]*/task/[0-9]*/stat; do sleep 0.01; done
rm -rf -- "$folder"
