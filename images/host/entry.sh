#!/bin/sh
# Hand the container over to systemd: give it the /proc, /sys and control groups that a machine of its own would have,
# then become it. Everything here is inside the container's own namespaces.
set -eu

# The engine hides parts of /proc and /sys by mounting over them; systemd and an inner engine need the real ones.
awk '$2 ~ "^/(proc|sys/firmware)/" { print $2 }' /proc/mounts | sort -r | while read -r covered; do
    umount "$covered" || true
done
mount -o remount,rw /sys || true

legacy=
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    mount -o remount,rw /sys/fs/cgroup
else
    # Version 1: each hierarchy is mounted again from inside, so that its root is this container's own group.
    legacy=SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1
    for hierarchy in /sys/fs/cgroup/*/; do
        name=$(basename "$hierarchy")
        case $name in
            unified) continue ;;
            systemd) options=none,name=systemd ;;
            *) options=$name ;;
        esac
        umount "$hierarchy" 2>/dev/null || true
        mount -t cgroup -o "$options" cgroup "$hierarchy" || echo "zads-entry: no control group $name" >&2
    done
fi

# systemd of Debian 13 refuses version 1 without this word on its command line. Debian 12's would take the word for the
# name of a target.
version=$(/lib/systemd/systemd --version | awk 'NR == 1 { print $2 }')
[ "$version" -ge 256 ] || legacy=
exec /lib/systemd/systemd ${legacy:+"$legacy"}
