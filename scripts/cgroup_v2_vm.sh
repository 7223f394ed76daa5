#!/usr/bin/env bash
# Runs a command as root on an emulated machine with a kernel of its own, whose control groups are version 2
# alone. It sees this machine's files in their places, but for /tmp and /run, and writes into memory. For what a
# host with control groups of version 1, or none, cannot try.
#
#   scripts/cgroup_v2_vm.sh install FOLDER [PACKAGE]   gets the emulator and unpacks a kernel (Debian, as root)
#   scripts/cgroup_v2_vm.sh run FOLDER COMMAND...      its output and exit status, started in this folder
#
# VM_MEMORY_MB (default 3072) is the size of the machine. Its clock counts instructions, one a nanosecond, so a
# second there holds as much work as on real hardware, however long the emulation takes.
set -euo pipefail
MODULES='virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci netfs fscache 9pnet 9pnet_virtio 9p overlay'

fail() { echo "cgroup_v2_vm: $*" >&2; exit 2; }

install() {
  command -v apt-get >/dev/null || fail "no apt-get here: install qemu-system-x86_64, and busybox without libraries"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends qemu-system-x86 busybox-static
  local package=${1:-}
  [ -n "$package" ] || package=$(apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: //p' | head -n 1)
  (cd "$folder" && apt-get download "$package" && dpkg -x "$package"_*.deb . && rm "$package"_*.deb)
}

# The first process: this machine's root folder, read-only, below a layer in memory.
first() {
  cat <<'INIT'
#!/busybox sh
/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for module in $(cat /modules/order); do insmod /modules/$module.ko; done
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro host /host
mount -t tmpfs memory /memory; mkdir /memory/upper /memory/work
mount -t overlay -o lowerdir=/host,upperdir=/memory/upper,workdir=/memory/work overlay /new
for place in proc sys dev; do mount --move /$place /new/$place; done
mkdir -p /new/dev/shm
for place in tmp run dev/shm; do mount -t tmpfs -o mode=1777 tmpfs /new/$place; done
cp /second /new/run/second; chmod o+x /new/root
exec switch_root /new /run/second
INIT
}

# The only process of the new machine, in the root group as an init is; children may have every limit.
second() {
  cat <<INIT
#!/bin/bash
mount -t cgroup2 -o nsdelegate cgroup2 /sys/fs/cgroup
echo '+memory +pids +cpu' >/sys/fs/cgroup/cgroup.subtree_control
ip link set lo up 2>/dev/null
export PATH=${PATH@Q} HOME=${HOME@Q}
cd ${PWD@Q} && ${*@Q}
echo "cgroup_v2_vm: exit status \$?"
echo o >/proc/sysrq-trigger; sleep 60
INIT
}

build() {
  local root=$work/root found module
  mkdir -p "$root"/{bin,proc,sys,dev,host,memory,new,modules}
  cp "$(command -v busybox)" "$root/busybox"
  for module in $MODULES; do
    found=$(find "$folder" -name "$module.ko*" | head -n 1)
    [ -n "$found" ] || continue  # built into this kernel, or unknown to it
    cp "$found" "$root/modules/"
    echo "$module" >>"$root/modules/order"
  done
  find "$root/modules" -name '*.xz' -exec unxz {} +
  first >"$root/init"
  second "$@" >"$root/second"
  chmod 755 "$root/init" "$root/second"
  (cd "$root" && find . | busybox cpio -o -H newc 2>/dev/null) >"$work/initramfs"
}

run() {
  local kernel status
  kernel=$(find "$folder/boot" -name 'vmlinuz-*' 2>/dev/null | head -n 1)
  [ -n "$kernel" ] || fail "no kernel in $folder; $0 install $folder"
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  build "$@"
  qemu-system-x86_64 -accel tcg -cpu max -icount shift=0 -rtc clock=vm \
    -m "${VM_MEMORY_MB:-3072}" -nodefaults -display none -no-reboot -serial stdio -kernel "$kernel" \
    -initrd "$work/initramfs" -append "console=ttyS0 loglevel=1 panic=-1 cgroup_no_v1=all" \
    -virtfs local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap </dev/null |
    sed -u 's/\r//g' | tee "$work/log"
  status=$(sed -n 's/^cgroup_v2_vm: exit status //p' "$work/log" | tail -n 1)
  [ -n "$status" ] || fail "the machine went down before the command had ended"
  exit "$status"
}

verb=${1:-}
case "$verb" in
  install | run)
    [ -n "${2:-}" ] || fail "which folder? $0 $verb FOLDER"
    mkdir -p "$2" && folder=$(cd "$2" && pwd) && shift 2 && "$verb" "$@" ;;
  *) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
