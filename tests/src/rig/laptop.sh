# The laptop: run by unshare as the only process that holds its namespaces, with a pipe from the test on stdin.
# When that pipe ends, because the test dropped its rig or because the test died, this ends everything of the rig.
set -eu
umask 022
mount --bind "$RIG_DIR/laptop/etc/passwd" /etc/passwd
mount --bind "$RIG_DIR/laptop/etc/hosts" /etc/hosts
echo laptop >/proc/sys/kernel/hostname
ip -batch "$RIG_DIR/laptop/etc/network"
echo ready

exec >/dev/null
while read -r _; do :; done

set +e
namespace=$(stat -L -c %i /proc/self/ns/net)
found=yes
while [ "$found" = yes ]; do
    found=no
    for link in $(find /proc/[0-9]*/ns/net -maxdepth 0 -lname "net:?$namespace?" 2>/dev/null); do
        pid=${link#/proc/}
        pid=${pid%%/*}
        [ "$pid" = $$ ] || { kill -KILL "$pid" 2>/dev/null && found=yes; }
    done
done
# The hosts may be ending at this very moment and still write a log line.
for _ in 1 2 3 4 5; do
    rm -rf -- "$RIG_DIR" && break
    sleep 0.1
done
