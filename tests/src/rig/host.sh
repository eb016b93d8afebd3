# One host: process 1 of its own net, mount, uts, ipc and pid namespaces, with a pipe from the test on stdin.
# When that pipe ends, this ends, and the kernel ends every process of the host with it.
set -eu
umask 022

# /proc is still the machine's: this is the pid by which the machine knows this process.
read -r pid _ </proc/self/stat
echo "$pid"

# The cable: eth0 here, a port of the bridge on the laptop's side.
ip link add eth0 address "$MAC" type veth peer name "$PORT" netns "$LAPTOP_NET"
nsenter --net="$LAPTOP_NET" ip link set "$PORT" master br0 up
ip -batch "$HOST_DIR/network"
echo "$HOST" >/proc/sys/kernel/hostname

for file in passwd group shadow hosts machine-id; do
    if [ -e "/etc/$file" ]; then mount --bind "$HOST_DIR/etc/$file" "/etc/$file"; fi
done
mount --bind "$HOST_DIR/ssh" /etc/ssh

mount -t tmpfs -o mode=755 tmpfs /home
mkdir "/home/$WORKER"
home=/home/$WORKER
if [ -n "$HOME_KIB" ]; then
    mount -t tmpfs -o "size=${HOME_KIB}k,mode=755" tmpfs "$home"
    cp -a "$HOME_DIR/." "$home"
    chown "$WORKER:" "$home"
    if [ "$HOME_FILLED" = yes ]; then
        dd if=/dev/zero of="$home/ballast" bs=4k 2>/dev/null || true
    fi
else
    mount --bind "$HOME_DIR" "$home"
    if [ -n "$HOME_FLAGS" ]; then mount -o "remount,bind,$HOME_FLAGS" "$home"; fi
fi

# Last, because the test's own folder is in /tmp.
mount -t tmpfs -o mode=700 tmpfs /root
mount -t tmpfs -o mode=755 tmpfs /run
for shared in /tmp /var/tmp /dev/shm; do
    mount -t tmpfs -o "mode=1777$SHARED_FLAGS" tmpfs "$shared"
done
mount -t proc proc /proc
cd /

mkdir /run/sshd
if [ "$START_SSHD" = yes ]; then
    env -i PATH="$PATH" "$SSHD" -E /etc/ssh/sshd.log </dev/null >/dev/null 2>&1
fi
echo ready

# A process 1 that ignores SIGCHLD has its orphans reaped by the kernel.
exec env --ignore-signal=CHLD cat >/dev/null
