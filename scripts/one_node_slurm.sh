#!/usr/bin/env bash
# A Slurm of one node for tests, on loopback alone, with everything it writes in one folder.
#
#   scripts/one_node_slurm.sh start FOLDER    prints the variables that its commands need:  eval "$(...)"
#   scripts/one_node_slurm.sh stop FOLDER     ends what `start` started, by process id
#   scripts/one_node_slurm.sh install         apt-get install slurm-wlm munge (Debian, as root)
#
# SLURM_TEST_CPUS (default 4) and SLURM_TEST_GPUS (default 2, made up) are what the node claims to have.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

fail() { echo "one_node_slurm: $*" >&2; exit 2; }

missing() {
  local tool
  for tool in sbatch slurmctld slurmd munged; do command -v "$tool" >/dev/null || echo "$tool"; done
}

install() {
  [ -n "$(missing)" ] || return 0
  command -v apt-get >/dev/null || fail "no apt-get here: install Slurm and MUNGE as your system does"
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge
}

free_ports() {
  python3 - <<'PY'
import socket
sockets = [socket.socket() for _ in range(2)]
for one in sockets:
    one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in sockets))
PY
}

configure() {
  local ports; read -ra ports <<<"$(free_ports)"
  cat >"$folder/slurm.conf" <<CONF
ClusterName=salver-test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=${ports[0]}
SlurmdPort=${ports[1]}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0,sched_interval=1,bf_interval=1
ReturnToService=2
KillWait=2
MinJobAge=10
OverTimeLimit=0
GresTypes=gpu
NodeName=localhost NodeHostname=localhost NodeAddr=127.0.0.1 CPUs=${SLURM_TEST_CPUS:-4} RealMemory=${SLURM_TEST_MEMORY_MB:-64000} Gres=gpu:${SLURM_TEST_GPUS:-2} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
  : >"$folder/gres.conf"
  for number in $(seq 0 $((${SLURM_TEST_GPUS:-2} - 1))); do
    ln -sf /dev/null "$folder/gpu$number"
    echo "NodeName=localhost Name=gpu Flags=nvidia_gpu_env File=$folder/gpu$number" >>"$folder/gres.conf"
  done
  printf '%s\n' CgroupPlugin=autodetect CgroupAutomount=no >"$folder/cgroup.conf"
}

start() {
  [ -z "$(missing)" ] || fail "not found: $(missing | xargs); $0 install"
  [ ! -e "$folder/started" ] || fail "$folder is in use; $0 stop $folder"
  mkdir -p "$folder/state" "$folder/spool"
  chmod 0711 "$folder"
  configure
  (umask 077; head -c 1024 /dev/urandom >"$folder/munge.key")
  : >"$folder/started"
  munged --foreground --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" \
    --pid-file="$folder/munged.pid" --log-file="$folder/munged.log" --seed-file="$folder/munge.seed" \
    >"$folder/munged.out" 2>&1 </dev/null &
  echo $! >>"$folder/started"
  for _ in $(seq 100); do [ -S "$folder/munge.socket" ] && break; sleep 0.05; done
  export SLURM_CONF=$folder/slurm.conf
  slurmctld -D >"$folder/slurmctld.out" 2>&1 </dev/null &
  echo $! >>"$folder/started"
  slurmd -D -N localhost >"$folder/slurmd.out" 2>&1 </dev/null &
  echo $! >>"$folder/started"
  for _ in $(seq 300); do
    if [ "$(sinfo --noheader --format=%t 2>/dev/null)" = idle ]; then
      echo "export SLURM_CONF=$folder/slurm.conf"
      return
    fi
    sleep 0.1
  done
  for log in "$folder"/*.out; do echo "$log:"; tail -n 5 "$log"; done >&2
  stop
  fail "the node did not come up"
}

stop() {
  [ -e "$folder/started" ] || fail "nothing was started in $folder"
  export SLURM_CONF=$folder/slurm.conf
  squeue --noheader --format=%A 2>/dev/null | xargs -r scancel --signal=KILL --full 2>/dev/null || true
  # The node last: it tells the controller what has ended.
  for pid in $(tac "$folder/started"); do
    kill "$pid" 2>/dev/null || continue
    for _ in $(seq 100); do [ -d "/proc/$pid" ] || break; sleep 0.05; done
    [ ! -d "/proc/$pid" ] || kill -KILL "$pid" 2>/dev/null || true
  done
  rm -f "$folder/started"
}

verb=${1:-}
case "$verb" in
  install) install ;;
  start | stop)
    [ -n "${2:-}" ] || fail "which folder? $0 $verb FOLDER"
    mkdir -p "$2" && folder=$(cd "$2" && pwd) && "$verb" ;;
  *) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
